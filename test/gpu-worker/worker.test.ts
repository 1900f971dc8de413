/** What a GPU worker promises the cell: its window, its lanes, its word, and how it leaves. */
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { decodeHeartbeat, decodeServedModel, type Heartbeat } from '../../contract/heartbeat.ts'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { suspectStalledCount, windowPerSlot } from '../../contract/limits.ts'
import { fakeAnswer } from '../fixtures/fault-stage.ts'
import { WorkerBench } from '../fixtures/worker-bench.ts'

const bench = WorkerBench.forThisFile()

describe('a worker', () => {
  it('runs many jobs at once, each as if alone', async () => {
    await bench.start()
    const seeds = Array.from({ length: 40 }, (_, position) => BigInt(position))
    const jobs = await Promise.all(seeds.map((seed) => bench.desk.ask({ seed, request: { maxTokens: 30 } })))
    for (const [position, jobId] of jobs.entries()) {
      expect((await bench.outcomeOf(jobId)).tokenIds).toEqual(fakeAnswer(seeds[position] ?? 0n, 30))
    }
  })

  it('never holds more than its window of claimed jobs', async () => {
    await bench.start({ limits: { sequencesMax: 2 }, stepMs: () => 3 })
    const jobs = await Promise.all(Array.from({ length: 12 }, () => bench.desk.ask({ request: { maxTokens: 25 } })))
    let most = 0
    const isEnded = (jobId: JobId) => bench.desk.live(jobId).some(({ entry }) => entry.kind === 'end')
    while (!jobs.every(isEnded)) most = Math.max(most, await bench.desk.queue(0).getActiveCount())
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(2 * windowPerSlot)
  })

  it('lets a job of tier batch wait for every other one that it holds', async () => {
    const { desk } = bench
    await bench.start({ limits: { sequencesMax: 2 }, stepMs: () => 5 })
    const running = [await desk.ask({ request: { maxTokens: 150 } }), await desk.ask({ request: { maxTokens: 300 } })]
    for (const jobId of running) await desk.tokens(jobId, 1)
    const batch = await desk.ask({ tier: 'batch', request: { maxTokens: 3 } })
    while ((await desk.queue(0).getActiveCount()) < 3);
    const other = await desk.ask({ request: { maxTokens: 3 } })
    await Promise.all([batch, other].map((jobId) => desk.end(jobId)))
    expect(desk.arrivals(batch).at(-1)).toBeGreaterThan(desk.arrivals(other).at(-1) ?? Infinity)
  })

  it('takes jobs from every lane, also from one that no worker owns', async () => {
    await bench.start({}, { laneCount: 3 })
    const jobs = await Promise.all(
      Array.from({ length: 9 }, () => bench.desk.ask({ laneCount: 3, request: { maxTokens: 4 } })),
    )
    const ends = await Promise.all(jobs.map((jobId) => bench.desk.end(jobId)))
    expect(ends).toHaveLength(9)
  })

  it('begins nothing beside a job that was lost twice, also what it fetched in the same moment', async () => {
    const suspect = await askSuspect()
    const neighbour = await bench.desk.ask({ laneCount: 2, request: { maxTokens: 3 } })
    await bench.start({ stepMs: () => 5 }, { laneCount: 2 })
    const ends = [await bench.outcomeOf(suspect), await bench.outcomeOf(neighbour)]
    expect(ends.map(({ end }) => end.status)).toEqual(['incomplete', 'incomplete'])
    const [beganAtMs] = bench.desk.arrivals(neighbour)
    expect(beganAtMs).toBeGreaterThan(bench.desk.arrivals(suspect).at(-1) ?? Infinity)
  })

  it('begins a job that was lost twice once, whatever leaves meanwhile', async () => {
    const suspect = await askSuspect()
    await bench.desk.scripts.cancel(await bench.desk.ask({ laneCount: 2 }))
    await bench.start({ stepMs: () => 5 }, { laneCount: 2 })
    await bench.outcomeOf(suspect)
    expect(await bench.desk.redis.hget(keys.job(suspect), 'epoch')).toBe('1')
  })

  it('rests between looks at lanes that have jobs and give none', async () => {
    await bench.desk.queue(0).pause()
    for (let count = 0; count < 12; count++) await bench.desk.ask({ request: { maxTokens: 2 } })
    await bench.start()
    const before = await commandCount()
    await delay(1_000)
    expect((await commandCount()) - before).toBeLessThan(200)
    await bench.desk.queue(0).resume()
    await expect.poll(() => bench.desk.redis.zcard(keys.open)).toBe(0)
  })

  it('drops a cancelled sequence within a step, and bills what was made', async () => {
    await bench.start({ stepMs: () => 20 })
    const jobId = await bench.desk.ask({ request: { maxTokens: 1_000 } })
    await bench.desk.tokens(jobId, 3)
    expect(await bench.desk.scripts.cancel(jobId)).toBe('cancelling')
    const said = bench.desk.live(jobId).length
    const { end } = await bench.outcomeOf(jobId)
    expect(end).toMatchObject({ status: 'cancelled', finishReasons: [] })
    // The step under way, and at most one that had begun before the message arrived.
    expect(bench.desk.live(jobId).length - said).toBeLessThanOrEqual(3)
  })

  it('learns of a cancel whose message was lost from its next append', async () => {
    await bench.start({ stepMs: () => 5 })
    const jobId = await bench.desk.ask({ request: { maxTokens: 1_000 } })
    await bench.desk.tokens(jobId, 3)
    await bench.desk.redis.hset(keys.job(jobId), 'cancel', '1')
    expect((await bench.outcomeOf(jobId)).end).toMatchObject({ status: 'cancelled' })
  })

  it('stops a sequence whose job another one took over', async () => {
    await bench.start({ stepMs: () => 5 })
    const jobId = await bench.desk.ask({ request: { maxTokens: 1_000 } })
    await bench.desk.tokens(jobId, 3)
    expect(await bench.desk.scripts.claim(jobId, 'w2')).toMatchObject({ kind: 'claimed' })
    await expect.poll(() => bench.lines.some((line) => line.includes('"code":"fenced"'))).toBe(true)
    await expect.poll(async () => (await heartbeat()).running, { timeout: 4_000 }).toBe(0)
  })

  it('says that it is ready only after it made tokens, and what it serves', async () => {
    let isReadyAtFirstStep: boolean | null = null
    const worker = await bench.start({
      stepMs: () => 30,
      onStep: () => {
        isReadyAtFirstStep ??= false
      },
    })
    expect(isReadyAtFirstStep).toBe(false)
    expect(await heartbeat()).toMatchObject({ isReady: true, fingerprint: 'fake', slots: 16, lanes: [0] })
    const served = decodeServedModel((await bench.desk.redis.get(keys.servedModel)) ?? '')
    expect(served).toMatchObject({ id: 'axk1-tiny', aliases: ['tiny'], contextTokens: 2_048 })
    expect(worker.firstTokenMs).toBeGreaterThan(0)
  })

  it('leaves no heartbeat behind when it stops', async () => {
    await bench.start()
    await bench.stop()
    expect(await bench.desk.redis.exists(keys.worker('w1'))).toBe(0)
    expect(await bench.desk.redis.smembers(keys.workers)).toEqual([])
  })

  it('starts once a Redis that was full takes writes again', async () => {
    const { redis } = bench.desk
    await redis.config('SET', 'maxmemory', '1')
    const starting = bench.start()
    try {
      await expect.poll(() => isRefused()).toBe(true)
    } finally {
      await redis.config('SET', 'maxmemory', '0')
    }
    await starting
    expect(await heartbeat()).toMatchObject({ isReady: true })
  })

  it('ends when its Runner fails, and leaves its jobs to a counted takeover', async () => {
    const running = await bench.start({ rejectAtStep: 20, stepMs: () => 5 })
    const jobId = await bench.desk.ask({ request: { maxTokens: 1_000 } })
    await expect(running.ended).rejects.toThrow('Cannot run a step')
    expect(await bench.desk.queue(0).getJobState(jobId)).toBe('active')
  })

  it('ends when Redis stays away for longer than its deadline, and comes to no harm before', async () => {
    const running = await bench.start({}, { timings: { redisDeadlineMs: 500 } })
    await bench.server.kill()
    try {
      await expect(running.ended).rejects.toThrow('Redis did not answer for 500 ms')
    } finally {
      await bench.server.start()
    }
  })

  it('sees a job whose wake-up was lost', async () => {
    await bench.start()
    const end = await bench.desk.end(await bench.desk.ask({ request: { maxTokens: 2 } }, 'queued'), 2_000)
    expect(end.entry).toMatchObject({ status: 'incomplete' })
  })

  it('writes no prompt and no answer to its log', async () => {
    await bench.start({ stopIndex: () => 30 })
    const canary = 'canary-5a1f'
    const jobId = await bench.desk.ask({ request: { messages: [{ role: 'user', content: canary }] } })
    const { text: said } = await bench.outcomeOf(jobId)
    expect(bench.lines.join('')).not.toContain(canary)
    expect(bench.lines.join('')).not.toContain(said.slice(0, 12))
    expect(bench.lines.length).toBeGreaterThan(0)
  })
})

async function askSuspect(): Promise<JobId> {
  const jobId = await bench.desk.ask({ laneCount: 2, request: { maxTokens: 30 } })
  await bench.desk.redis.hset(bench.desk.queue(0).toKey(jobId), 'stc', suspectStalledCount)
  return jobId
}

/** Whether Redis has refused a write since its start. */
async function isRefused(): Promise<boolean> {
  return /errorstat_OOM:count=[1-9]/.test(await bench.desk.redis.info('errorstats'))
}

async function commandCount(): Promise<number> {
  const stats = await bench.desk.redis.info('stats')
  return Number(/total_commands_processed:(\d+)/.exec(stats)?.[1])
}

async function heartbeat(): Promise<Heartbeat> {
  return decodeHeartbeat((await bench.desk.redis.get(keys.worker('w1'))) ?? '')
}
