/**
 * The data directory of a start: one launcher at a time owns it, and a new owner first ends what a killed one left running.
 * It does not know what the files in it mean.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Failure } from './failure.ts'
import { takeLock } from './pid-lock.js'
import { endOrphans } from './process-records.ts'

export interface DataDirectory {
  /** Lets a start that comes meanwhile wait instead of failing. */
  readonly announceEnd: () => void
  readonly release: () => void
  readonly recordsPath: string
  readonly logDir: string
  /** Names of processes of a killed start, ended just now. */
  readonly endedOrphans: readonly string[]
}

/** A launcher whose npm was killed notices within half a second; until then it does not say that it is ending. */
const noticeMs = 1_500
/** A launcher ends within 10 s. */
const endingMaxMs = 12_000
const orphanGraceMs = 5_000
const pollMs = 100

/** @throws Failure when another start runs on it, or when it cannot be written. */
export async function claimDataDirectory(path: string): Promise<DataDirectory> {
  createDirectory(path)
  const { announceEnd, release } = await takeOver(join(path, 'launcher.lock'), path)
  const recordsPath = join(path, 'processes.json')
  const endedOrphans = await endOrphans(recordsPath, { dataDir: path, graceMs: orphanGraceMs })
  return { announceEnd, release, recordsPath, logDir: join(path, 'logs'), endedOrphans }
}

function createDirectory(path: string): void {
  try {
    createFolders(join(path, 'logs'))
  } catch (error) {
    throw new Failure(
      `Cannot create the data directory ${path}: ${error instanceof Error ? error.message : String(error)}`,
      'Choose another with AXLE_DATA_DIR=<folder>.',
      { cause: error },
    )
  }
}

/** Like mkdir's own `recursive`, which never returns where the file system answers ENOENT to everything (`/proc`). */
function createFolders(path: string): void {
  if (existsSync(path)) return
  createFolders(dirname(path))
  mkdirSync(path, { mode: 0o700 })
}

async function takeOver(lockPath: string, dataDir: string): Promise<{ announceEnd: () => void; release: () => void }> {
  const startedAt = performance.now()
  for (;;) {
    const attempt = takeLock(lockPath)
    if (attempt.kind === 'taken') return attempt.lock
    const { pid, isEnding } = attempt.holder
    if (performance.now() - startedAt > (isEnding ? endingMaxMs : noticeMs)) {
      throw new Failure(
        `Axle is already running on ${dataDir} (process ${pid})`,
        `Stop it (kill ${pid}), or start this one with another AXLE_DATA_DIR and AXLE_PORT.`,
      )
    }
    await delay(pollMs)
  }
}
