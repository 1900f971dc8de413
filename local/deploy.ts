/**
 * `npm run deploy`: settings judged, migrations applied to D1, then the gateway uploaded; nothing is uploaded for which
 * the database is not ready. `--dry-run` does all of it without an account, on a database that is thrown away.
 *
 * It knows wrangler's command line and wrangler.toml, not what a migration or a route does.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { unstable_readConfig as readConfig } from 'wrangler'
import { z } from 'zod'
import { parseSettings, SettingsError } from '../edge/settings.ts'
import { describeFailure, Failure } from './failure.ts'
import { repositoryRoot } from './settings.ts'

const help = `npm run deploy -- [--secrets FILE] [--dry-run]

Deploys the gateway of wrangler.toml to Cloudflare: judges the settings, applies the migrations of edge/d1/migrations to
the remote D1, then uploads the Worker. Run it again after every change; what is applied is not applied twice.

  --secrets FILE  JSON with REDIS_URL, AXLE_PEPPER and, until the first admin key is made, AXLE_BOOTSTRAP_SECRET; mode
                  0600. They are uploaded with the Worker; without it, those uploaded before stay
  --dry-run       everything but Cloudflare: migrations go to a local D1 in a temporary folder, the bundle is made
                  and nothing is uploaded. Needs no account and no network

wrangler signs in with \`wrangler login\`, or with CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID.`

/** What wrangler.toml has before a database was made. */
const noDatabase = '00000000-0000-0000-0000-000000000000'
/** Bits of a file's mode that let others than its owner in. */
const othersMode = 0o077
const secretsSchema = z.record(z.string(), z.string())
/** What of wrangler.toml is judged here. */
const configSchema = z.object({
  vars: z.record(z.string(), z.unknown()),
  d1_databases: z.array(z.object({ database_id: z.string().optional() })),
})

interface Plan {
  /** Absolute; undefined: the secrets uploaded before stay. */
  readonly secretsPath: string | undefined
  readonly isDryRun: boolean
}

try {
  const plan = readPlan(process.argv.slice(2))
  if (plan === null) console.log(help)
  else deploy(plan)
} catch (error) {
  console.error(describeFailure(error))
  process.exitCode = 1
}

/** null: help was asked for. */
function readPlan(args: string[]): Plan | null {
  const options = { secrets: { type: 'string' }, 'dry-run': { type: 'boolean' }, help: { type: 'boolean' } } as const
  try {
    const { values } = parseArgs({ args, options, strict: true })
    return values.help === true ? null : { secretsPath: pathOf(values.secrets), isDryRun: values['dry-run'] === true }
  } catch (error) {
    throw new Failure('The arguments cannot be read', help, { cause: error })
  }
}

function deploy({ secretsPath, isDryRun }: Plan): void {
  judgeSettings(secretsPath, isDryRun)
  if (isDryRun) return rehearse()
  wrangler(['d1', 'migrations', 'apply', 'axle', '--remote'], { mayAsk: true })
  wrangler(['deploy', ...(secretsPath === undefined ? [] : ['--secrets-file', secretsPath])], { mayAsk: true })
  console.log('\n  ✓ Deployed. /readyz of its URL answers 200 as soon as a GPU worker is ready.')
}

function rehearse(): void {
  const folder = mkdtempSync(join(tmpdir(), 'axle-deploy-'))
  try {
    const persisted = ['--persist-to', join(folder, 'd1')]
    wrangler(['d1', 'migrations', 'apply', 'axle', '--local', ...persisted], { mayAsk: false })
    wrangler(['deploy', '--dry-run', '--outdir', join(folder, 'bundle')], { mayAsk: false })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  console.log('\n  ✓ Settings, migrations and bundle are fit to deploy. Nothing was uploaded.')
}

/** @throws Failure where the Worker would refuse to serve with what it is given. */
function judgeSettings(secretsPath: string | undefined, isDryRun: boolean): void {
  const config = readConfig({ config: join(repositoryRoot, 'wrangler.toml') })
  const { vars, d1_databases: databases } = configSchema.parse(config)
  if (vars['AXLE_ENV'] !== 'production') {
    throw new Failure('AXLE_ENV in wrangler.toml is not production', 'Set it: only there are weak secrets refused.')
  }
  if (!isDryRun && databases.some(({ database_id: id }) => id === undefined || id === noDatabase)) {
    throw new Failure(
      'wrangler.toml names no D1 database yet',
      'Make one with `npx wrangler d1 create axle` and put the id it prints under database_id.',
    )
  }
  if (secretsPath === undefined) return
  try {
    parseSettings({ ...vars, ...readSecrets(secretsPath) })
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    throw new Failure(error.message, `Correct ${secretsPath} or [vars] of wrangler.toml.`, { cause: error })
  }
}

/** @throws Failure when others could read it, or it is no JSON object of texts; the message repeats none of it. */
function readSecrets(path: string): Record<string, string> {
  if (!existsSync(path)) throw new Failure(`There is no ${path}`, 'docs/guide-operator.md shows how to make it.')
  if ((statSync(path).mode & othersMode) !== 0) {
    throw new Failure(`Others than its owner may read ${path}`, `chmod 600 ${path}`)
  }
  try {
    return secretsSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    throw new Failure(`${path} is not a JSON object of texts`, 'docs/guide-operator.md shows how to make it.')
  }
}

/** npm runs scripts in the repository root and remembers where the person stood. */
function pathOf(given: string | undefined): string | undefined {
  return given === undefined ? undefined : resolve(process.env['INIT_CWD'] ?? process.cwd(), given)
}

/** @throws Failure when wrangler fails, which says why itself. */
function wrangler(args: readonly string[], { mayAsk }: { mayAsk: boolean }): void {
  console.log(`\n── wrangler ${args.slice(0, 3).join(' ')}`)
  const script = join(repositoryRoot, 'node_modules', 'wrangler', 'bin', 'wrangler.js')
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', ...(mayAsk ? {} : { CI: 'true' }) }
  const { status } = spawnSync(process.execPath, [script, ...args], {
    cwd: repositoryRoot,
    stdio: [mayAsk ? 'inherit' : 'ignore', 'inherit', 'inherit'],
    env,
  })
  if (status !== 0)
    throw new Failure(`wrangler ${args[0]} failed`, 'What it said stands above. Nothing after it was done.')
}
