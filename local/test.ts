/**
 * `npm test`: brings what the tests need of the machine, an adapter and a real Redis, then runs Vitest with the arguments
 * given. It knows no test; the closing line is counted by Vitest.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { ensureAdapter } from './adapter.ts'
import { describeFailure } from './failure.ts'
import { Progress } from './progress.ts'
import { ensureRedisServer } from './redis.ts'
import { repositoryRoot } from './settings.ts'

const countsSchema = z.object({
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  numPendingTests: z.int(),
  numTodoTests: z.int(),
})

try {
  await prepare()
  process.exitCode = await runVitest(process.argv.slice(2))
} catch (error) {
  console.error(describeFailure(error))
  process.exitCode = 1
}

async function prepare(): Promise<void> {
  const progress = new Progress((line) => console.error(line))
  await progress.step('adapter', ensureAdapter)
  await progress.step('redis', async (detail) => {
    const server = await ensureRedisServer(detail)
    return { result: server, outcome: server }
  })
}

/** @returns the exit code: Vitest's, which also counts errors outside of tests. */
async function runVitest(args: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'axle-test-'))
  const reportPath = join(folder, 'report.json')
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportPath}`]
    const vitest = join(repositoryRoot, 'node_modules', 'vitest', 'vitest.mjs')
    const child = spawn(process.execPath, [vitest, 'run', ...reporters, ...args], {
      cwd: repositoryRoot,
      stdio: 'inherit',
    })
    process.on('SIGINT', () => child.kill('SIGINT'))
    process.on('SIGTERM', () => child.kill('SIGTERM'))
    process.once('disconnect', () => child.kill('SIGTERM'))
    process.channel?.unref() // listening must not keep this process alive
    const [code] = await once(child, 'exit')
    const exitCode = typeof code === 'number' ? code : 1
    console.log(closingLine(reportPath, exitCode))
    return exitCode
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function closingLine(reportPath: string, exitCode: number): string {
  const counts = readCounts(reportPath)
  if (counts === undefined) return 'Vitest left no report: nothing was counted'
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = counts
  const skipped = numPendingTests + numTodoTests
  const words = [`${numPassedTests} passed`, `${numFailedTests} failed`]
  if (skipped > 0) words.push(`${skipped} skipped`)
  if (exitCode !== 0 && numFailedTests === 0) words.push('but the run failed: see the errors above')
  return words.join(', ')
}

function readCounts(reportPath: string): z.infer<typeof countsSchema> | undefined {
  try {
    return countsSchema.parse(JSON.parse(readFileSync(reportPath, 'utf8')))
  } catch {
    return undefined // Vitest ended before it could write one: an unknown option, an interrupt
  }
}
