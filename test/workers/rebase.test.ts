/** What waits follows the zero of priorities when it moves: on a real Redis and BullMQ, whoever dies or is late. */
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { JobId } from '../../contract/ids.ts'
import { keys, laneHeadKey, priorityScore } from '../../contract/keys.ts'
import { rebaseSteps, tokensPerPriority } from '../../contract/limits.ts'
import { readScriptSources } from '../../contract/script-files.ts'
import { JobScripts } from '../../contract/scripts.ts'
import { LaneQueues } from '../../gpu-worker/lane-queues.ts'
import { Janitor } from '../../workers/janitor.ts'
import { type AskOptions, firstPriority, JobDesk } from '../fixtures/job-desk.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const laneCount = 2
/** What was served before the base moves. */
const historyTokens = rebaseSteps * tokensPerPriority
let server: TestRedis
let desk: JobDesk
let janitor: Janitor

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())
beforeEach(async () => {
  await server.connect().flushall()
  desk = await JobDesk.open(server)
  const redis = server.connect()
  janitor = new Janitor({
    redis,
    scripts: new JobScripts(redis, readScriptSources()),
    laneCount,
    log: pino({ level: 'silent' }),
    timings: { requeueAfterMs: 0 },
  })
  return () => janitor.stop()
})

function ask(tenantId: string, fairTokens: number, options: AskOptions = {}): Promise<JobId> {
  return desk.ask({ tenantId, fairTokens, laneCount, ...options })
}

/** Virtual time stands where the base must move; the cell is not idle. */
async function longHistory(): Promise<void> {
  await ask('a', historyTokens)
  await desk.scripts.claim(await ask('a', 100), 'w1')
}

/** Ids of a lane in the order in which BullMQ serves them, and their priorities. */
async function waiting(lane: number): Promise<{ ids: string[]; priorities: number[] }> {
  const scored = await desk.redis.zrange(laneHeadKey(lane), '0', '-1', 'WITHSCORES')
  return {
    ids: scored.filter((_, position) => position % 2 === 0),
    priorities: scored
      .filter((_, position) => position % 2 === 1)
      .map((text) => Math.floor(Number(text) / priorityScore)),
  }
}

describe('when the base moves', () => {
  it('every waiting job keeps its place before those behind it and before newcomers', async () => {
    await longHistory()
    const costs = Array.from({ length: 1_100 }, (_, position) => 1 + ((position * 7_919) % 4_096))
    for (const [position, tokens] of costs.entries()) await ask(`tenant-${position % 5}`, tokens)
    const before = [await waiting(0), await waiting(1)]
    await janitor.sweep()
    const after = [await waiting(0), await waiting(1)]
    expect(after.map(({ ids }) => ids)).toEqual(before.map(({ ids }) => ids))
    expect(before[1]?.priorities.at(-1)).toBeGreaterThan(rebaseSteps)
    expect(Math.max(...after.flatMap(({ priorities }) => priorities))).toBeLessThan(rebaseSteps)
    const late = await ask('newcomer', 100)
    const lane = Number(await desk.redis.hget(keys.job(late), 'lane'))
    const { ids, priorities } = await waiting(lane)
    // Not before those that wait for their first turn as it does, and before what its tenant-mates come later with.
    expect(priorities[ids.indexOf(late) - 1]).toBeLessThanOrEqual(firstPriority)
    expect(priorities[ids.indexOf(late)]).toBe(firstPriority)
    expect(priorities[ids.indexOf(late) + 1]).toBeGreaterThan(firstPriority)
  })

  it('a janitor that moved it and died leaves the rest to the next one', async () => {
    await longHistory()
    const jobId = await ask('b', 100)
    expect((await desk.scripts.rebase()).isMoved).toBe(true)
    await janitor.sweep()
    expect(await placeOf(jobId)).toBe(firstPriority)
  })

  it('a job that is added with the priority of before is moved as well', async () => {
    await longHistory()
    const jobId = await desk.ask({ tenantId: 'b', laneCount }, 'admitted')
    const [lane, priority] = await desk.redis.hmget(keys.job(jobId), 'lane', 'priority')
    await janitor.stop()
    await desk.scripts.rebase()
    await desk.queue(Number(lane)).add('generate', {}, { jobId, priority: Number(priority) })
    expect(await placeOf(jobId)).toBeGreaterThan(rebaseSteps)
    await janitor.sweep()
    expect(await placeOf(jobId)).toBe(firstPriority)
  })

  it('a job that a worker holds goes back to the place that is due', async () => {
    await longHistory()
    const queues = new LaneQueues(server.connect(), {
      laneCount,
      lockMs: 10_000,
      tokenPrefix: 'w',
      onError: () => undefined,
    })
    const jobId = await ask('b', 100)
    const held = [await queues.fetch(0), await queues.fetch(0)]
    expect(held.map((job) => job?.jobId)).toContain(jobId)
    await janitor.sweep()
    for (const job of held) if (job !== null) await queues.handBack(job)
    expect(await placeOf(jobId)).toBe(firstPriority)
    await queues.close()
  })

  it('nothing moves while it stands, and twice does no harm', async () => {
    await longHistory()
    for (let count = 0; count < 20; count++) await ask('b', 64)
    await janitor.sweep()
    const first = [await desk.redis.zrange(laneHeadKey(0), '0', '-1', 'WITHSCORES'), await waiting(1)]
    await janitor.sweep()
    expect([await desk.redis.zrange(laneHeadKey(0), '0', '-1', 'WITHSCORES'), await waiting(1)]).toEqual(first)
  })
})

async function placeOf(jobId: JobId): Promise<number | undefined> {
  const lane = Number(await desk.redis.hget(keys.job(jobId), 'lane'))
  const { ids, priorities } = await waiting(lane)
  return priorities[ids.indexOf(jobId)]
}
