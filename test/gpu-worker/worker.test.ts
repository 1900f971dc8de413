/** A whole GPU worker in this process: fake Runner, real text, real Redis. What it promises every job. */
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { decodeHeartbeat, decodeServedModel } from '../../contract/heartbeat.ts'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { windowPerSlot } from '../../contract/limits.ts'
import { seedWords } from '../../gpu-worker/job-plan.ts'
import { loadModelText, type ModelText } from '../../gpu-worker/model/model-text.ts'
import { type RunningWorker, startWorker, type WorkerOptions } from '../../gpu-worker/worker.ts'
import { FakeRunner, type FakeRunnerOptions } from '../fake-runner.ts'
import { fakeVocabulary } from '../fixtures/fake-gpu-worker.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { type AskOptions, JobDesk } from '../fixtures/job-desk.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const stopTokenId = 1015
const lines: string[] = []
const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
let server: TestRedis
let desk: JobDesk
let text: ModelText
let worker: RunningWorker | null = null
let runner: FakeRunner

beforeAll(async () => {
  server = await startRedis()
  text = await loadModelText('models/axk1-tiny', 'axk1-tiny')
})
afterAll(() => server.stop())
beforeEach(async () => {
  await server.connect().flushall()
  desk = await JobDesk.open(server)
  lines.length = 0
})
afterEach(async () => {
  await worker?.stop()
  worker = null
})

async function start(fake: FakeRunnerOptions = {}, options: Partial<WorkerOptions> = {}): Promise<RunningWorker> {
  runner = new FakeRunner({ vocabulary: fakeVocabulary, stopTokenId, stepMs: () => 1, wait: delay, ...fake })
  worker = await startWorker({
    runner,
    text,
    redisUrl: server.url,
    workerId: 'w1',
    instanceId: 'w1-1',
    modelAliases: ['tiny'],
    adapter: 'fake',
    laneCount: 1,
    log,
    nowMs: Date.now,
    ...options,
  })
  return worker
}

async function outcomeOf(jobId: JobId) {
  await desk.end(jobId)
  return checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId)))
}

const answerOf = (seed: bigint, count: number) =>
  Array.from({ length: count }, (_, index) => runner.tokenAt(seedWords(seed), index))

describe('a job', () => {
  it('is answered token by token, and ends at its token limit as incomplete', async () => {
    await start()
    const jobId = await desk.ask({ request: { maxTokens: 20 } })
    const { tokenIds, end } = await outcomeOf(jobId)
    expect(tokenIds).toEqual(answerOf(7n, 20))
    expect(end).toMatchObject({ status: 'incomplete', finishReasons: ['length'], error: null })
    const prompt = text.promptTokens({ messages: [{ role: 'user', content: 'Hello' }], think: false })
    expect(end.usage.promptTokens).toBe(prompt.length)
    expect(desk.live(jobId)[0]?.entry).toEqual({
      kind: 'start',
      epoch: 1,
      fingerprint: 'fake',
      promptTokens: prompt.length,
    })
  })

  it('ends at an end token as completed', async () => {
    await start({ stopIndex: () => 5 })
    const { tokenIds, end } = await outcomeOf(await desk.ask())
    expect(tokenIds).toEqual([...answerOf(7n, 5), stopTokenId])
    expect(end).toMatchObject({ status: 'completed', finishReasons: ['stop'] })
  })

  it('ends at a stop string, whose text and later tokens nobody sees', async () => {
    await start()
    const whole = await outcomeOf(await desk.ask({ request: { maxTokens: 30 } }))
    const stop = whole.text.slice(12, 16)
    const { tokenIds, text: said, end } = await outcomeOf(await desk.ask({ request: { maxTokens: 30, stop: [stop] } }))
    expect(said).toBe(whole.text.slice(0, whole.text.indexOf(stop)))
    expect(end).toMatchObject({ status: 'completed', finishReasons: ['stop'] })
    expect(whole.tokenIds.slice(0, tokenIds.length)).toEqual(tokenIds)
    expect(tokenIds.length).toBeLessThan(30)
  })

  it('counts the tokens of its reasoning', async () => {
    await start()
    const thinking = { think: true, effort: null, budget: null }
    const { end } = await outcomeOf(await desk.ask({ request: { maxTokens: 9, thinking } }))
    expect(end.usage).toMatchObject({ completionTokens: 9, reasoningTokens: 9 })
  })

  it('leaves nothing in BullMQ when it ended', async () => {
    await start()
    await outcomeOf(await desk.ask({ request: { maxTokens: 3 } }))
    await expect.poll(() => desk.redis.keys('*:bull:lane-0:0*')).toEqual([])
    expect(await desk.queue(0).getJobCounts('active', 'prioritized', 'wait', 'failed', 'completed')).toEqual({
      active: 0,
      prioritized: 0,
      wait: 0,
      failed: 0,
      completed: 0,
    })
  })
})

describe('a job that cannot run', () => {
  it('fails before any start entry when its prompt is longer than the context, with the numbers', async () => {
    await start()
    const jobId = await desk.ask({ request: { messages: [{ role: 'user', content: 'word '.repeat(3_000) }] } })
    const { end } = await outcomeOf(jobId)
    expect(desk.live(jobId).map(({ entry }) => entry.kind)).toEqual(['end'])
    expect(end).toMatchObject({ status: 'failed', error: { code: 'context_length_exceeded', param: 'messages' } })
    expect(end.error?.message).toMatch(/maximum context length is 2048 tokens.* resulted in \d{4,} tokens/)
  })

  it('fails as model_error on a logit that is no number, and its neighbour does not notice', async () => {
    const [low] = seedWords(66n)
    await start({ isNotFinite: (seed, index) => seed[0] === low && index === 4 })
    const [bad, good] = await Promise.all([
      desk.ask({ seed: 66n, request: { maxTokens: 20 } }),
      desk.ask({ seed: 8n, request: { maxTokens: 20 } }),
    ])
    expect((await outcomeOf(bad)).end).toMatchObject({ status: 'failed', error: { code: 'model_error' } })
    expect((await outcomeOf(good)).tokenIds).toEqual(answerOf(8n, 20))
  })

  it('fails alone when its record cannot be read', async () => {
    await start()
    const jobId = await askWhileStopped({ request: { maxTokens: 3 } }, (id) =>
      desk.redis.hset(keys.job(id), 'request', '{"messages":7}'),
    )
    await start()
    expect((await outcomeOf(jobId)).end).toMatchObject({ status: 'failed', error: { code: 'internal_error' } })
    await outcomeOf(await desk.ask({ request: { maxTokens: 3 } }))
  })

  it('is let go of quietly when it was cancelled before anyone took it', async () => {
    const jobId = await askWhileStopped({}, (id) => desk.scripts.cancel(id))
    await start()
    await expect.poll(() => desk.queue(0).getJob(jobId)).toBeUndefined()
    expect((await outcomeOf(jobId)).end).toMatchObject({ status: 'cancelled' })
  })
})

describe('a log that a lost worker left', () => {
  it('is continued at the next index, with a start entry of the new epoch', async () => {
    const jobId = await halfWritten(5, { request: { maxTokens: 60 } })
    await start({}, { workerId: 'w2', instanceId: 'w2-1' })
    expect((await outcomeOf(jobId)).tokenIds).toEqual(answerOf(7n, 60))
    const starts = desk.live(jobId).filter(({ entry }) => entry.kind === 'start')
    expect(starts.map(({ entry }) => entry.kind === 'start' && entry.epoch)).toEqual([1, 2])
  })

  it('that already holds the whole answer is only finished', async () => {
    const jobId = await halfWritten(5, { request: { maxTokens: 200 } })
    const { log: written } = await readHistory(desk.redis, jobId)
    const tokens = written.flatMap(({ entry }) => (entry.kind === 'token' ? entry.tokenIds : []))
    await desk.redis.hset(keys.job(jobId), 'request', await withLimit(jobId, tokens.length))
    await start({}, { workerId: 'w2', instanceId: 'w2-1' })
    const { tokenIds, end } = await outcomeOf(jobId)
    expect(tokenIds).toEqual(tokens)
    expect(end).toMatchObject({ status: 'incomplete', finishReasons: ['length'] })
  })

  it('whose text is not what its tokens make fails the job loudly', async () => {
    const jobId = await halfWritten(5, { request: { maxTokens: 200 } })
    const { log: written } = await readHistory(desk.redis, jobId)
    const forged = written.map(({ sequence, entry }) =>
      entry.kind === 'token' && entry.index === 2
        ? { sequence, entry: { ...entry, text: 'forged' } }
        : { sequence, entry },
    )
    await desk.redis.del(keys.log(jobId))
    for (const { sequence, entry } of forged) {
      await desk.redis.xadd(keys.log(jobId), `${sequence}-0`, 'entry', JSON.stringify(entry))
    }
    await start({}, { workerId: 'w2', instanceId: 'w2-1' })
    expect((await desk.end(jobId)).entry).toMatchObject({ status: 'failed', error: { code: 'internal_error' } })
    expect(lines.some((line) => line.includes('differs from its tokens'))).toBe(true)
    expect(lines.some((line) => line.includes('forged'))).toBe(false)
  })
})

describe('a worker', () => {
  it('runs many jobs at once, each as if alone', async () => {
    await start()
    const seeds = Array.from({ length: 40 }, (_, position) => BigInt(position))
    const jobs = await Promise.all(seeds.map((seed) => desk.ask({ seed, request: { maxTokens: 30 } })))
    for (const [position, jobId] of jobs.entries()) {
      expect((await outcomeOf(jobId)).tokenIds).toEqual(answerOf(seeds[position] ?? 0n, 30))
    }
  })

  it('never holds more than its window of claimed jobs', async () => {
    await start({ limits: { sequencesMax: 2 }, stepMs: () => 3 })
    const jobs = await Promise.all(Array.from({ length: 12 }, () => desk.ask({ request: { maxTokens: 25 } })))
    let most = 0
    const isEnded = (jobId: JobId) => desk.live(jobId).some(({ entry }) => entry.kind === 'end')
    while (!jobs.every(isEnded)) most = Math.max(most, await desk.queue(0).getActiveCount())
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(2 * windowPerSlot)
  })

  it('takes jobs from every lane, also from one that no worker owns', async () => {
    await start({}, { laneCount: 3 })
    const jobs = await Promise.all(
      Array.from({ length: 9 }, () => desk.ask({ laneCount: 3, request: { maxTokens: 4 } })),
    )
    const ends = await Promise.all(jobs.map((jobId) => desk.end(jobId)))
    expect(ends).toHaveLength(9)
  })

  it('drops a cancelled sequence within a step, and bills what was made', async () => {
    await start({ stepMs: () => 20 })
    const jobId = await desk.ask({ request: { maxTokens: 1_000 } })
    await desk.tokens(jobId, 3)
    expect(await desk.scripts.cancel(jobId)).toBe('cancelling')
    const said = desk.live(jobId).length
    const { end } = await outcomeOf(jobId)
    expect(end).toMatchObject({ status: 'cancelled', finishReasons: [] })
    // The step under way, and at most one that had begun before the message arrived.
    expect(desk.live(jobId).length - said).toBeLessThanOrEqual(3)
  })

  it('learns of a cancel whose message was lost from its next append', async () => {
    await start({ stepMs: () => 5 })
    const jobId = await desk.ask({ request: { maxTokens: 1_000 } })
    await desk.tokens(jobId, 3)
    await desk.redis.hset(keys.job(jobId), 'cancel', '1')
    expect((await outcomeOf(jobId)).end).toMatchObject({ status: 'cancelled' })
  })

  it('stops a sequence whose job another one took over', async () => {
    await start({ stepMs: () => 5 })
    const jobId = await desk.ask({ request: { maxTokens: 1_000 } })
    await desk.tokens(jobId, 3)
    expect(await desk.scripts.claim(jobId, 'w2')).toMatchObject({ kind: 'claimed' })
    await expect.poll(() => lines.some((line) => line.includes('"code":"fenced"'))).toBe(true)
    await expect.poll(async () => (await heartbeat()).running, { timeout: 4_000 }).toBe(0)
  })

  it('says that it is ready only after it made tokens, and what it serves', async () => {
    let isReadyAtFirstStep: boolean | null = null
    await start({
      stepMs: () => 30,
      onStep: () => {
        isReadyAtFirstStep ??= false
      },
    })
    expect(isReadyAtFirstStep).toBe(false)
    expect(await heartbeat()).toMatchObject({ isReady: true, fingerprint: 'fake', slots: 16, lanes: [0] })
    const served = decodeServedModel((await desk.redis.get(keys.servedModel)) ?? '')
    expect(served).toMatchObject({ id: 'axk1-tiny', aliases: ['tiny'], contextTokens: 2_048 })
    expect(worker?.firstTokenMs).toBeGreaterThan(0)
  })

  it('leaves no heartbeat behind when it stops', async () => {
    await start()
    await worker?.stop()
    expect(await desk.redis.exists(keys.worker('w1'))).toBe(0)
    expect(await desk.redis.smembers(keys.workers)).toEqual([])
  })

  it('ends when its Runner fails, and leaves its jobs to a counted takeover', async () => {
    const running = await start({ rejectAtStep: 20, stepMs: () => 5 })
    const jobId = await desk.ask({ request: { maxTokens: 1_000 } })
    await expect(running.ended).rejects.toThrow('Cannot run a step')
    expect(await desk.queue(0).getJobState(jobId)).toBe('active')
    worker = null
  })

  it('sees a job whose wake-up was lost', async () => {
    await start()
    const end = await desk.end(await desk.ask({ request: { maxTokens: 2 } }, 'queued'), 2_000)
    expect(end.entry).toMatchObject({ status: 'incomplete' })
  })

  it('writes no prompt and no answer to its log', async () => {
    await start({ stopIndex: () => 30 })
    const canary = 'canary-5a1f'
    const jobId = await desk.ask({ request: { messages: [{ role: 'user', content: canary }] } })
    const { text: said } = await outcomeOf(jobId)
    expect(lines.join('')).not.toContain(canary)
    expect(lines.join('')).not.toContain(said.slice(0, 12))
    expect(lines.length).toBeGreaterThan(0)
  })
})

async function heartbeat() {
  return decodeHeartbeat((await desk.redis.get(keys.worker('w1'))) ?? '')
}

/** Asks while no worker runs, and lets `change` happen to the job before one does. */
async function askWhileStopped(options: AskOptions, change: (jobId: JobId) => Promise<unknown>): Promise<JobId> {
  await worker?.stop()
  worker = null
  const jobId = await desk.ask(options)
  await change(jobId)
  return jobId
}

/** Stops the worker after `count` tokens: the job waits again, its log half written. */
async function halfWritten(count: number, options: AskOptions): Promise<JobId> {
  await start({ stepMs: () => 5 })
  const jobId = await desk.ask(options)
  await desk.tokens(jobId, count)
  await worker?.stop()
  return jobId
}

async function withLimit(jobId: JobId, maxTokens: number): Promise<string> {
  return JSON.stringify({ ...JSON.parse((await desk.redis.hget(keys.job(jobId), 'request')) ?? ''), maxTokens })
}
