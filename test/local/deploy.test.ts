/** `npm run deploy`: what it refuses before anything is uploaded, and that wrangler applies what `npm start` applies. */
import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, globSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { readMigrations } from '../../local/migrations.ts'
import { temporaryFolder } from './temporary.ts'

const root = join(import.meta.dirname, '..', '..')
const pepper = 'Zm9yLWEtdGVzdC1vbmx5LTAxMjM0NTY3ODk='
const timeout = 60_000

function deploy(...args: string[]): { status: number | null; output: string } {
  const result = spawnSync(process.execPath, ['local/deploy.ts', ...args], { cwd: root, encoding: 'utf8', timeout })
  return { status: result.status, output: result.stdout + result.stderr }
}

function secretsFile(content: unknown, mode = 0o600): string {
  const path = join(temporaryFolder(), 'secrets.json')
  writeFileSync(path, JSON.stringify(content))
  chmodSync(path, mode)
  return path
}

/** What SQLite says of its tables, indexes and triggers; wrangler's own and SQLite's left out. */
function schemaOf(database: DatabaseSync): unknown[] {
  return database
    .prepare(
      `SELECT type, name, tbl_name FROM sqlite_master
       WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'd1_%' AND name NOT LIKE '_cf_%' ORDER BY type, name`,
    )
    .all()
}

describe('npm run deploy', () => {
  it('rehearses everything without an account: settings, migrations, bundle', { timeout }, () => {
    const secrets = secretsFile({ REDIS_URL: 'rediss://u:secret-of-redis@h:6379', AXLE_PEPPER: pepper })
    const { status, output } = deploy('--dry-run', '--secrets', secrets)
    expect(output).toContain('Nothing was uploaded.')
    expect(status).toBe(0)
    expect(output).toMatch(/0001_tenants_and_keys\.sql\s+│ ✅/)
    expect(output).toMatch(/0002_control_plane\.sql\s+│ ✅/)
    expect(output).not.toContain('secret-of-redis')
    expect(output).not.toContain(pepper)
  })

  it.each([
    ['a weak pepper', { REDIS_URL: 'redis://h', AXLE_PEPPER: 'changeme'.repeat(2) }, 'AXLE_PEPPER'],
    ['a repeated one', { REDIS_URL: 'redis://h', AXLE_PEPPER: 'a'.repeat(64) }, 'AXLE_PEPPER'],
    [
      'a default bootstrap secret',
      { REDIS_URL: 'redis://h', AXLE_PEPPER: pepper, AXLE_BOOTSTRAP_SECRET: 'please-changeme-0123456789-abcdefgh' },
      'AXLE_BOOTSTRAP_SECRET',
    ],
    ['no Redis', { AXLE_PEPPER: pepper }, 'REDIS_URL'],
    ['what is no text', { REDIS_URL: 1 }, 'is not a JSON object of texts'],
  ])('refuses %s before anything is done, and repeats no secret', (_, secrets, message) => {
    const { status, output } = deploy('--dry-run', '--secrets', secretsFile(secrets))
    expect(status).toBe(1)
    expect(output).toContain(message)
    expect(output).not.toContain('wrangler d1')
    const texts = Object.values(secrets).filter((secret) => typeof secret === 'string')
    expect(texts.filter((secret) => output.includes(secret))).toEqual([])
  })

  it('refuses secrets that others may read', () => {
    const { status, output } = deploy('--dry-run', '--secrets', secretsFile({}, 0o644))
    expect(status).toBe(1)
    expect(output).toContain('chmod 600')
  })

  it('uploads nothing where no database was made', () => {
    const { status, output } = deploy()
    expect(status).toBe(1)
    expect(output).toContain('wrangler.toml names no D1 database yet')
    expect(output).not.toContain('wrangler d1 migrations')
  })
})

describe('wrangler d1 migrations apply', () => {
  it('makes the same tables, indexes and triggers as npm start does', { timeout }, async () => {
    const folder = temporaryFolder()
    const script = join(root, 'node_modules', 'wrangler', 'bin', 'wrangler.js')
    await promisify(execFile)(
      process.execPath,
      [script, 'd1', 'migrations', 'apply', 'axle', '--local', '--persist-to', folder],
      { cwd: root, timeout, env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' } },
    )
    const files = globSync(join(folder, 'v3/d1/**/*.sqlite')).filter((file) => !file.endsWith('metadata.sqlite'))
    expect(files).toHaveLength(1)
    using applied = new DatabaseSync(files[0] ?? '', { readOnly: true })

    using ours = new DatabaseSync(':memory:')
    for (const { statements } of await readMigrations()) for (const statement of statements) ours.exec(statement)
    expect(schemaOf(applied)).toEqual(schemaOf(ours))
    expect(schemaOf(applied)).toContainEqual({ type: 'trigger', name: 'audit_logs_kept', tbl_name: 'audit_logs' })
  })
})
