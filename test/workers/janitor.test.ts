/** The janitor's duties on a real Redis and BullMQ, and that two of it do no harm. */
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { JobId } from '../../contract/ids.ts'
import { bullPrefix, channels, keys, laneName } from '../../contract/keys.ts'
import { readScriptSources } from '../../contract/script-files.ts'
import { JobScripts } from '../../contract/scripts.ts'
import { LaneQueues } from '../../gpu-worker/lane-queues.ts'
import { Janitor } from '../../workers/janitor.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { JobDesk, firstPriority } from '../fixtures/job-desk.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const log = pino({ level: 'silent' })
const lockMs = 300
let server: TestRedis
let desk: JobDesk
let janitors: Janitor[]
let lanes: LaneQueues

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())
beforeEach(async () => {
  await server.connect().flushall()
  desk = await JobDesk.open(server)
  janitors = []
  lanes = new LaneQueues(server.connect(), { laneCount: 2, lockMs, tokenPrefix: 'w', onError: () => undefined })
})
afterEach(async () => {
  await Promise.all(janitors.map((each) => each.stop()))
  await lanes.close()
})

/** Looks after everything at once: nothing is too young for it. */
function janitor(timings = {}): Janitor {
  const redis = server.connect()
  const eager = { stalledCheckMs: 100, requeueAfterMs: 0, ...timings }
  const made = new Janitor({
    redis,
    scripts: new JobScripts(redis, readScriptSources()),
    laneCount: 2,
    log,
    timings: eager,
  })
  janitors.push(made)
  return made
}

async function waitingIds(lane = 0): Promise<JobId[]> {
  return ((await lanes.waiting(100))[lane] ?? []).map(({ jobId }) => jobId)
}

describe('a job that never reached its queue', () => {
  it('is added to the lane and with the priority of its record, once', async () => {
    await desk.ask({ fairTokens: 6_400 }, 'admitted')
    const jobId = await desk.ask({ laneCount: 2 }, 'admitted')
    expect(await redisStatus(jobId)).toBe('accepted')
    await Promise.all([janitor().sweep(), janitor().sweep()])
    expect(await waitingIds(1)).toEqual([jobId])
    expect(await waitingIds(0)).toHaveLength(1)
    expect(await redisStatus(jobId)).toBe('queued')
    expect((await desk.queue(1).getJob(jobId))?.priority).toBe(firstPriority + 100)
  })

  it('is left alone while its Broker may still be about to add it', async () => {
    await desk.ask({}, 'admitted')
    await janitor({ requeueAfterMs: 60_000 }).sweep()
    expect(await waitingIds()).toEqual([])
  })

  it('wakes the workers when it is added', async () => {
    const listener = server.connect()
    await listener.subscribe(channels.wake)
    const woken = new Promise((resolve) => {
      listener.once('message', (_channel: string, lane: string) => resolve(lane))
    })
    await desk.ask({}, 'admitted')
    await janitor().sweep()
    expect(await woken).toBe('0')
  })
})

describe('a job whose BullMQ job is gone', () => {
  it('is added again, also when it was running', async () => {
    const jobId = await desk.ask()
    const fetched = await lanes.fetch(0)
    await desk.scripts.claim(jobId, 'w1')
    if (fetched !== null) await lanes.complete(fetched)
    expect(await desk.queue(0).getJob(jobId)).toBeUndefined()
    await janitor().sweep()
    expect(await waitingIds()).toEqual([jobId])
  })

  it('is added again when BullMQ calls it failed and its record does not', async () => {
    const jobId = await desk.ask()
    const fetched = await lanes.fetch(0)
    if (fetched !== null) await lanes.fail(fetched, 'lost')
    expect(await desk.queue(0).getJobState(jobId)).toBe('failed')
    await janitor().sweep()
    expect(await waitingIds()).toEqual([jobId])
  })

  it('is left alone where it is known: waiting, or active', async () => {
    const waiting = await desk.ask()
    const active = await desk.ask()
    await lanes.fetch(0)
    await janitor().sweep()
    expect([await desk.queue(0).getJobState(waiting), await desk.queue(0).getJobState(active)].sort()).toEqual([
      'active',
      'prioritized',
    ])
  })

  it('is not added when it ended', async () => {
    const jobId = await desk.ask()
    await desk.scripts.cancel(jobId)
    await desk.queue(0).remove(jobId)
    await janitor().sweep()
    expect(await waitingIds()).toEqual([])
  })
})

describe('a job that is too old', () => {
  const jobAgeMaxMs = 3_600_000

  it('expires by the clock of Redis, and leaves its queue', async () => {
    const jobId = await desk.ask()
    const young = janitor({ jobAgeMaxMs })
    await young.sweep()
    expect(await redisStatus(jobId)).toBe('queued')
    await desk.redis.set(keys.clockOffset, jobAgeMaxMs + 1)
    await Promise.all([young.sweep(), janitor({ jobAgeMaxMs }).sweep()])
    const { end } = checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId)))
    expect(end).toMatchObject({ status: 'expired', error: { code: 'job_expired' } })
    expect(await waitingIds()).toEqual([])
  })

  it('expires under the hands of its worker, which is fenced', async () => {
    const jobId = await desk.ask()
    await lanes.fetch(0)
    await desk.scripts.claim(jobId, 'w1')
    await desk.redis.set(keys.clockOffset, jobAgeMaxMs + 1)
    await janitor({ jobAgeMaxMs }).sweep()
    expect(await redisStatus(jobId)).toBe('expired')
    const entry = { kind: 'start', epoch: 1, fingerprint: 'f', promptTokens: 1 } as const
    expect(await desk.scripts.append(jobId, 1, 1, entry)).toMatchObject({ code: 'fenced' })
  })
})

describe('the open set', () => {
  it('loses what has no record any more, and what was never an id', async () => {
    const jobId = await desk.ask({}, 'admitted')
    await desk.redis.del(keys.job(jobId))
    await desk.redis.zadd(keys.open, 1, 'not-an-id')
    await janitor().sweep()
    expect(await desk.redis.zcard(keys.open)).toBe(0)
  })

  it('is swept page by page: a thousand lost jobs come back in a few rounds', async () => {
    const jobIds = await Promise.all(Array.from({ length: 1_100 }, () => desk.ask({}, 'admitted')))
    const sweeper = janitor()
    for (let round = 0; round < 3; round++) await sweeper.sweep()
    expect(await desk.redis.zcard(`${bullPrefix}:${laneName(0)}:prioritized`)).toBe(jobIds.length)
  })
})

describe('a stalled job', () => {
  it('waits again soon after its lock expired, ahead of the others, and is counted', async () => {
    const jobId = await desk.ask()
    await lanes.fetch(0)
    const later = await desk.ask()
    await Promise.all([janitor().start(), janitor().start()])
    const takenOverAtMs = performance.now()
    await expect.poll(() => waitingIds(), { interval: 20, timeout: 5_000 }).toEqual([jobId, later])
    expect(performance.now() - takenOverAtMs).toBeLessThan(lockMs + 4 * 100)
    expect(await lanes.fetch(0)).toMatchObject({ jobId, stalledCount: 1, isGivenUp: false })
  })

  it('keeps its worker as long as the lock is renewed', async () => {
    await desk.ask()
    const fetched = await lanes.fetch(0)
    await janitor().start()
    const until = performance.now() + 3 * lockMs
    while (performance.now() < until) {
      expect(await lanes.extendLocks(fetched === null ? [] : [fetched])).toEqual([])
      await new Promise((resolve) => setTimeout(resolve, lockMs / 4))
    }
    expect(await waitingIds()).toEqual([])
  })

  it('is given up after more takeovers than allowed, and handed out once more to be failed', async () => {
    const jobId = await desk.ask()
    await janitor().start()
    for (const stalledCount of [0, 1, 2, 3, 4]) {
      let fetched = await lanes.fetch(0)
      while (fetched === null) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        fetched = await lanes.fetch(0)
      }
      expect(fetched).toMatchObject({ jobId, stalledCount, isGivenUp: stalledCount === 4 })
    }
  })
})

function redisStatus(jobId: JobId): Promise<string | null> {
  return desk.redis.hget(keys.job(jobId), 'status')
}
