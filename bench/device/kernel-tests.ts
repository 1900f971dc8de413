/**
 * Runs `test/kernels` by node:test, for machines that have no vitest: `node bench/device/kernel-tests.ts [FILE...]`.
 *
 * Prints each failure and the counts. Exit code 1 when a test failed or none ran. What a test says is its own business.
 */
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { run } from 'node:test'

const root = join(import.meta.dirname, '../..')
const folder = join(root, 'test/kernels')
const asked = process.argv.slice(2)
const files =
  asked.length > 0
    ? asked
    : readdirSync(folder)
        .filter((name) => name.endsWith('.test.ts'))
        .map((name) => join(folder, name))
/** A file compiles dozens of shaders. */
const FILE_MS = 240_000

const hook = join(import.meta.dirname, 'vitest-resolved.ts')
const stream = run({
  files,
  concurrency: availableParallelism(),
  timeout: FILE_MS,
  // A device that nobody destroyed would keep its process.
  execArgv: ['--import', hook, '--test-force-exit'],
})
let [passed, failed] = [0, 0]
stream.on('test:pass', ({ details }) => {
  if (details.type === 'test') passed += 1
})
stream.on('test:fail', ({ name, details }) => {
  if (details.type === 'suite') return
  failed += 1
  const { cause } = details.error
  console.log(`FAILED ${name}: ${cause instanceof Error ? cause.message : String(cause)}`)
})
for await (const _ of stream);
console.log(`kernel tests: ${files.length} files, ${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
