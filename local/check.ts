/**
 * `npm run check`: everything besides the tests that must hold before a commit; with names, only those. It knows the
 * tools' command lines, not their rules, which lie in each tool's own configuration.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { repositoryRoot } from './settings.ts'

/** Script of each tool, then its arguments; all run with this Node, whatever the machine's own is. */
const checks: Readonly<Record<string, readonly (readonly string[])[]>> = {
  format: [['oxfmt/bin/oxfmt', '--check']],
  lint: [['oxlint/bin/oxlint', '--type-aware']],
  types: [
    ['typescript/bin/tsc', '-p', '.'],
    ['typescript/bin/tsc', '-p', 'edge'],
    ['typescript/bin/tsc', '-p', 'test/edge'],
  ],
  tidy: [['vitest/vitest.mjs', 'run', 'test/tidy.test.ts']],
  deploy: [['wrangler/bin/wrangler.js', 'deploy', '--dry-run', '--outdir', 'node_modules/.cache/axle-deploy']],
}

const named = process.argv.slice(2)
const unknown = named.filter((name) => checks[name] === undefined)
if (unknown.length > 0) {
  console.error(`No such check: ${unknown.join(', ')}. There are: ${Object.keys(checks).join(', ')}`)
  process.exit(2)
}
const results = (named.length > 0 ? named : Object.keys(checks)).map((name) => ({ name, holds: run(name) }))
for (const { name, holds } of results) console.log(`${holds ? '✓' : '✗'} ${name}`)
process.exitCode = results.every(({ holds }) => holds) ? 0 : 1

function run(name: string): boolean {
  console.log(`\n── ${name}`)
  return (checks[name] ?? []).every(([script = '', ...args]) => {
    const command = [join(repositoryRoot, 'node_modules', script), ...args]
    // wrangler would send usage figures, and ask for an account where it can.
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' }
    return spawnSync(process.execPath, command, { cwd: repositoryRoot, stdio: 'inherit', env }).status === 0
  })
}
