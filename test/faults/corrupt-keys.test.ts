/**
 * Case 40: keys that are not what they should be. The job whose key it is ends or is gone, once and for good; its worker
 * and its neighbours go on, and the log says so loudly.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { readScriptSources } from '../../contract/script-files.ts'
import { JobScripts } from '../../contract/scripts.ts'
import { Janitor } from '../../workers/janitor.ts'
import { shortLocks } from '../fixtures/fault-stage.ts'
import { WorkerBench } from '../fixtures/worker-bench.ts'

const bench = WorkerBench.forThisFile()
const request = { maxTokens: 8 }
/** pino's. */
const errorLevel = 50
const gone = 'whose record is gone'
let janitor: Janitor

beforeEach(async () => {
  const redis = bench.server.connect()
  janitor = new Janitor({
    redis,
    scripts: new JobScripts(redis, readScriptSources()),
    laneCount: 1,
    log: bench.log,
    timings: { stalledCheckMs: 100, requeueAfterMs: 200 },
  })
  await janitor.start()
})
afterEach(() => janitor.stop())

/** The job's key becomes a string. */
async function spoil(key: string): Promise<void> {
  await bench.desk.redis.set(key, 'not what it was')
}

/** Neither in the open set nor in BullMQ, and nobody comes back to it. */
async function untilGone(jobId: JobId): Promise<void> {
  await expect.poll(() => bench.desk.redis.zscore(keys.open, jobId), { timeout: 10_000 }).toBe(null)
  await expect.poll(() => bench.desk.queue(0).getJobState(jobId), { timeout: 10_000 }).toMatch(/^(failed|unknown)$/)
}

/** A job after the harm is answered, by the worker that met it. */
async function expectServing(): Promise<void> {
  const jobId = await bench.desk.ask({ request, seed: 9n })
  expect((await bench.outcomeOf(jobId)).end.status).toBe('incomplete')
}

describe('case 40: a job in the queue', () => {
  it.each([
    ['whose record is of another type', (jobId: JobId) => spoil(keys.job(jobId))],
    ['whose log is of another type', (jobId: JobId) => spoil(keys.log(jobId))],
    ['whose request is no JSON', (jobId: JobId) => bench.desk.redis.hset(keys.job(jobId), 'request', '{"messages":')],
    ['whose request is not one', (jobId: JobId) => bench.desk.redis.hset(keys.job(jobId), 'request', '{}')],
    ['whose counts are no numbers', (jobId: JobId) => bench.desk.redis.hset(keys.job(jobId), 'completionTokens', 'x')],
    ['whose lane is no number', (jobId: JobId) => bench.desk.redis.hset(keys.job(jobId), 'lane', 'x')],
    [
      'whose place is no number',
      (jobId: JobId) => bench.desk.redis.hset(keys.job(jobId), 'startTag', 'x', 'queueTag', 'x'),
    ],
    [gone, (jobId: JobId) => bench.desk.redis.del(keys.job(jobId))],
  ] as const)('%s ends or is gone, and nothing else', async (name, harm) => {
    const harmed = await bench.desk.ask({ request })
    const neighbour = await bench.desk.ask({ request, seed: 8n })
    await harm(harmed)
    await bench.start({}, { timings: shortLocks })
    expect((await bench.outcomeOf(neighbour)).end.status).toBe('incomplete')
    await untilGone(harmed)
    await expectServing()
    expect(bench.lines.some((line) => JSON.parse(line).level >= errorLevel)).toBe(name !== gone)
  })
})

describe('case 40: a job that runs', () => {
  it.each([
    ['whose record becomes another type', (jobId: JobId) => spoil(keys.job(jobId))],
    ['whose log becomes another type', (jobId: JobId) => spoil(keys.log(jobId))],
    ['whose tenant’s counters become another type', () => spoil(keys.quota('tenant-1'))],
  ] as const)('%s ends or is gone, and nothing else', async (_name, harm) => {
    await bench.start({ stepMs: () => 10 }, { timings: shortLocks })
    const harmed = await bench.desk.ask({ request: { maxTokens: 60 } })
    const neighbour = await bench.desk.ask({ request: { maxTokens: 60 }, seed: 8n, tenantId: 'tenant-2' })
    await bench.desk.tokens(harmed, 5)
    await harm(harmed)
    expect((await bench.outcomeOf(neighbour)).end.status).toBe('incomplete')
    await untilGone(harmed)
    await expectServing()
  })

  it('in a Redis that was emptied is gone, and the cell serves on', async () => {
    await bench.start({ stepMs: () => 10 }, { timings: shortLocks })
    const harmed = await bench.desk.ask({ request: { maxTokens: 200 } })
    await bench.desk.tokens(harmed, 5)
    await bench.desk.redis.flushall()
    await expectServing()
    await untilGone(harmed)
    await expect.poll(() => bench.desk.redis.exists(keys.servedModel), { timeout: 5_000 }).toBe(1)
  })
})
