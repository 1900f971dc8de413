/**
 * The log file of one child: its own output, across restarts, written by the child itself so that it outlives us.
 * It knows nothing of the child.
 */
import { closeSync, fstatSync, mkdirSync, openSync, readSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'

const shownBytesMax = 16 * 1024
const shownLinesMax = 20

/** Keeps the log of the start before beside the new one. */
export function rotateLog(path: string): void {
  mkdirSync(dirname(path), { recursive: true })
  try {
    renameSync(path, path.replace(/\.log$/, '.previous.log'))
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
}

/** Runs `use` with the log open for appending. */
export function withLog<T>(path: string, use: (descriptor: number) => T): T {
  const descriptor = openSync(path, 'a', 0o600)
  try {
    return use(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** The last lines, for a person who has to understand why the child died; empty when it said nothing. */
export function lastLines(path: string): string {
  const descriptor = openSync(path, 'a+', 0o600)
  try {
    const { size } = fstatSync(descriptor)
    const buffer = Buffer.alloc(Math.min(size, shownBytesMax))
    readSync(descriptor, buffer, 0, buffer.length, size - buffer.length)
    return buffer.toString('utf8').trimEnd().split('\n').slice(-shownLinesMax).join('\n')
  } finally {
    closeSync(descriptor)
  }
}
