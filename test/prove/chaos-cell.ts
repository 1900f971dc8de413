/**
 * The cell under chaos: its processes as the launcher recorded them, what ails them on purpose, and whether the cell is
 * whole again afterwards. It knows no client and no answer.
 */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { bullPrefix, keys, laneName } from '../../contract/keys.ts'
import type { Stack } from '../fixtures/stack.ts'

export const faultKinds = [
  'worker-killed',
  'worker-frozen',
  'worker-stopped',
  'janitor-killed',
  'janitor-frozen',
  'redis-killed',
  'redis-frozen',
  'redis-full',
] as const
export type FaultKind = (typeof faultKinds)[number]

const pollMs = 100
const laneCount = 2
const records = z.array(z.object({ name: z.string(), pid: z.int() }))

interface CellProcess {
  readonly name: string
  readonly pid: number
}

export async function processesOf(stack: Stack): Promise<CellProcess[]> {
  return records.parse(JSON.parse(await readFile(join(stack.dataDir, 'processes.json'), 'utf8')))
}

/**
 * Does one harm; resolves when what it can undo is undone. What dies is started again by the launcher, Redis by us.
 *
 * @param draw uniform in 0 … 1. @param lastsMs how long what is frozen, or Redis, stays away.
 */
export async function inflict(stack: Stack, kind: FaultKind, draw: () => number, lastsMs: number): Promise<string> {
  switch (kind) {
    case 'worker-killed': {
      const { name, pid } = await pick(stack, 'gpu-worker', draw)
      signal(pid, 'SIGKILL')
      return `${name} killed`
    }
    case 'worker-frozen': {
      const { name, pid } = await pick(stack, 'gpu-worker', draw)
      await freeze(pid, lastsMs)
      return `${name} frozen for ${seconds(lastsMs)}`
    }
    case 'worker-stopped': {
      const { name, pid } = await pick(stack, 'gpu-worker', draw)
      signal(pid, 'SIGTERM')
      return `${name} stopped`
    }
    case 'janitor-frozen': {
      const { pid } = await pick(stack, 'workers', draw)
      await freeze(pid, lastsMs)
      return `janitor frozen for ${seconds(lastsMs)}`
    }
    case 'janitor-killed': {
      const { pid } = await pick(stack, 'workers', draw)
      signal(pid, 'SIGKILL')
      return 'janitor killed'
    }
    case 'redis-killed':
      await stack.redis.kill()
      await delay(lastsMs)
      await stack.redis.start()
      return `Redis killed, back after ${seconds(lastsMs)}`
    case 'redis-frozen':
      await freeze(stack.redis.pid(), lastsMs)
      return `Redis frozen for ${seconds(lastsMs)}`
    case 'redis-full':
      await stack.connection.config('SET', 'maxmemory', '1')
      await delay(lastsMs)
      await stack.connection.config('SET', 'maxmemory', '0')
      return `Redis full for ${seconds(lastsMs)}`
    default:
      return kind satisfies never
  }
}

/** Waits until nothing is open, nothing is queued, no load is counted and `workerCount` workers live. */
export async function untilWhole(stack: Stack, workerCount: number, deadlineMs: number): Promise<void> {
  const endsAtMs = performance.now() + deadlineMs
  for (;;) {
    const troubles = await troublesOf(stack, workerCount)
    if (troubles.length === 0) return
    assert(performance.now() < endsAtMs, `The cell is not whole ${seconds(deadlineMs)} later: ${troubles.join('; ')}`)
    await delay(pollMs)
  }
}

async function troublesOf({ connection, heartbeats }: Stack, workerCount: number): Promise<string[]> {
  const troubles: string[] = []
  const openCount = await connection.zcard(keys.open)
  if (openCount > 0) troubles.push(`${openCount} jobs are open`)
  for (const [lane, load] of Object.entries(await connection.hgetall(keys.laneLoad))) {
    if (Number(load) !== 0) troubles.push(`lane ${lane} counts a load of ${load}`)
  }
  for (let lane = 0; lane < laneCount; lane++) {
    const left = await connection.keys(`${bullPrefix}:${laneName(lane)}:0*`)
    if (left.length > 0) troubles.push(`BullMQ keeps ${left.length} keys of jobs in lane ${lane}`)
    for (const list of ['wait', 'active'] as const) {
      const length = await connection.llen(`${bullPrefix}:${laneName(lane)}:${list}`)
      if (length > 0) troubles.push(`${length} jobs are ${list} in lane ${lane}`)
    }
    for (const set of ['prioritized', 'delayed', 'failed', 'completed'] as const) {
      const size = await connection.zcard(`${bullPrefix}:${laneName(lane)}:${set}`)
      if (size > 0) troubles.push(`${size} jobs are ${set} in lane ${lane}`)
    }
  }
  for (const [name, tag] of Object.entries(await connection.hgetall(keys.fair))) {
    if (!(Number(tag) >= 0)) troubles.push(`fair tag ${name} is ${tag}`)
  }
  const beats = await heartbeats()
  const readyCount = beats.filter(({ isReady }) => isReady).length
  if (readyCount !== workerCount) troubles.push(`${readyCount} of ${workerCount} workers are ready`)
  for (const beat of beats) {
    if (beat.running + beat.waiting > 0) troubles.push(`${beat.workerId} still holds sequences`)
    if (beat.freeBlocks !== beat.blockCount) troubles.push(`${beat.workerId} has ${beat.freeBlocks} free blocks`)
  }
  return troubles
}

/** What no process may ever say, and what none may repeat. */
const neverLogged = [/unhandled/i, /uncaught/i, /"level":60/, /"code":"(gap|conflict)"/, /AssertionError/]

/** @param secrets texts of tenants, and keys. */
export async function checkLogs(stack: Stack, secrets: readonly string[]): Promise<{ lineCount: number }> {
  const folder = join(stack.dataDir, 'logs')
  let lineCount = 0
  for (const file of await readdir(folder)) {
    const lines = (await readFile(join(folder, file), 'utf8')).split('\n')
    lineCount += lines.length
    for (const line of lines) {
      for (const pattern of neverLogged) assert(!pattern.test(line), `${file}: ${line}`)
      assert(!secrets.some((secret) => line.includes(secret)), `I9: ${file} repeats a prompt, an answer or a key`)
    }
  }
  return { lineCount }
}

/** Resident memory by process, MiB. Empty where there is no /proc. */
export async function memoryOf(stack: Stack): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  for (const { name, pid } of await processesOf(stack)) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
    if (kib !== undefined) sizes.set(name, Math.round(Number(kib) / 1024))
  }
  return sizes
}

async function pick(stack: Stack, prefix: string, draw: () => number): Promise<CellProcess> {
  const endsAtMs = performance.now() + 10_000
  for (;;) {
    const candidates = (await processesOf(stack)).filter(({ name }) => name.startsWith(prefix))
    const picked = candidates[Math.floor(draw() * candidates.length)]
    if (picked !== undefined) return picked
    assert(performance.now() < endsAtMs, `The launcher runs no ${prefix}`)
    await delay(pollMs)
  }
}

async function freeze(pid: number, lastsMs: number): Promise<void> {
  signal(pid, 'SIGSTOP')
  await delay(lastsMs)
  signal(pid, 'SIGCONT')
}

/** What died meanwhile needs none. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}
