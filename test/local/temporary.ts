/** A folder of one test, removed after it; and waiting for a condition, with a deadline. It knows no test. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { startTimeOf } from '../../local/process-identity.js'

const pollMs = 10

export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'axle-test-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Resolves with the first value that is not undefined or false. */
export async function eventually<T>(read: () => T | undefined | false, deadlineMs = 10_000): Promise<T> {
  const giveUpAt = performance.now() + deadlineMs
  for (;;) {
    const value = read()
    if (value !== undefined && value !== false) return value
    if (performance.now() > giveUpAt) throw new Error(`Still waiting after ${deadlineMs} ms for: ${read.toString()}`)
    await delay(pollMs)
  }
}

/** A process that has ended counts as gone, even while its parent has not yet asked for its exit code. */
export function isAlive(pid: number): boolean {
  return startTimeOf(pid) !== undefined
}
