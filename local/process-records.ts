/**
 * Which processes this data directory's launcher started, on disk, so that the next start can end what a killed one left
 * behind. A process is a pid and a start time, never a pid alone. It does not know what the processes do.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { z } from 'zod'
import { writePrivateFile } from './private-file.ts'
import { identityOf, isRunning, readLinuxStat, unknownStartTime } from './process-identity.js'

const recordsSchema = z.array(z.object({ name: z.string(), pid: z.int().min(2), startTime: z.string() }))

type ProcessRecord = z.infer<typeof recordsSchema>[number]

const pollMs = 50

export class ProcessRecords {
  readonly #path: string
  #records: readonly ProcessRecord[] = []

  constructor(path: string) {
    this.#path = path
  }

  /** Call right after the spawn; every recorded process leads a process group of its own. */
  add(name: string, pid: number): void {
    const identity = identityOf(pid)
    if (identity === undefined || identity.startTime === unknownStartTime) return // died already, or nothing to know it by
    this.#write([...this.#records, { name, ...identity }])
  }

  remove(pid: number): void {
    this.#write(this.#records.filter((record) => record.pid !== pid))
  }

  #write(records: readonly ProcessRecord[]): void {
    this.#records = records
    writePrivateFile(this.#path, `${JSON.stringify(records, null, 2)}\n`)
  }
}

export interface OrphanOptions {
  /** Processes of a group whose leader is gone are ours only when their environment says so. */
  readonly dataDir: string
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number
}

/**
 * Ends every recorded process group that still runs and forgets the records.
 * @returns the names of those that ran
 */
export async function endOrphans(path: string, { dataDir, graceMs }: OrphanOptions): Promise<string[]> {
  const orphans = readRecords(path)
    .map((record) => ({ record, members: () => groupMembers(record, dataDir) }))
    .filter(({ members }) => members().length > 0)
  for (const { members } of orphans) signalAll(members(), 'SIGTERM')
  const deadline = performance.now() + graceMs
  while (orphans.some(({ members }) => members().length > 0)) {
    if (performance.now() > deadline) for (const { members } of orphans) signalAll(members(), 'SIGKILL')
    await new Promise((next) => setTimeout(next, pollMs))
  }
  rmSync(path, { force: true })
  return orphans.map(({ record }) => record.name)
}

function readRecords(path: string): readonly ProcessRecord[] {
  try {
    return recordsSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    return [] // no file, or one cut short: nothing that could be trusted to name a process
  }
}

/**
 * The leader, when it is still the recorded process, and what it started. A living group keeps its id from being reused,
 * so the group of a living leader is ours; when the leader is gone, only members that carry our data directory are.
 */
function groupMembers(record: ProcessRecord, dataDir: string): number[] {
  const leader = isRunning(record) ? [record.pid] : []
  if (process.platform !== 'linux' || !existsSync('/proc/self')) return leader
  const members = readdirSync('/proc').filter((name) => {
    const stat = /^\d+$/.test(name) ? readLinuxStat(Number(name)) : undefined
    return stat?.group === record.pid && stat.state !== 'Z' && Number(name) !== record.pid
  })
  const ours = leader.length > 0 ? members : members.filter((name) => hasDataDir(name, dataDir))
  return [...leader, ...ours.map(Number)]
}

function hasDataDir(pid: string, dataDir: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`AXLE_DATA_DIR=${dataDir}`)
  } catch {
    return false // gone, or another user's
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
    }
  }
}
