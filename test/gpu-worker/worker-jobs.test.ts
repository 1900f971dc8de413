/** What a GPU worker promises every job, with a fake Runner, real text and a real Redis. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { TokenChance } from '../../contract/event.ts'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { seedWords } from '../../gpu-worker/job-plan.ts'
import { loadModelText, type ModelText } from '../../gpu-worker/model/model-text.ts'
import { chancesOf } from '../../gpu-worker/token-chances.ts'
import { contextHash, logProbsOf } from '../fake-runner.ts'
import { fakeAnswer } from '../fixtures/fault-stage.ts'
import { readHistory } from '../fixtures/history.ts'
import type { AskOptions } from '../fixtures/job-desk.ts'
import { stopTokenId, WorkerBench } from '../fixtures/worker-bench.ts'

const bench = WorkerBench.forThisFile()

describe('a job', () => {
  it('is answered token by token, and ends at its token limit as incomplete', async () => {
    await bench.start()
    const jobId = await bench.desk.ask({ request: { maxTokens: 20 } })
    const { tokenIds, end } = await bench.outcomeOf(jobId)
    expect(tokenIds).toEqual(fakeAnswer(7n, 20))
    expect(end).toMatchObject({ status: 'incomplete', finishReasons: ['length'], error: null })
    const prompt = bench.text.promptTokens({ messages: [{ role: 'user', content: 'Hello' }], think: false })
    expect(end.usage.promptTokens).toBe(prompt.length)
    expect(bench.desk.live(jobId)[0]?.entry).toEqual({
      kind: 'start',
      epoch: 1,
      fingerprint: 'fake',
      promptTokens: prompt.length,
    })
  })

  it('ends at an end token as completed', async () => {
    await bench.start({ stopIndex: () => 5 })
    const { tokenIds, end } = await bench.outcomeOf(await bench.desk.ask())
    expect(tokenIds).toEqual([...fakeAnswer(7n, 5), stopTokenId])
    expect(end).toMatchObject({ status: 'completed', finishReasons: ['stop'] })
  })

  it('ends at a stop string, whose text and later tokens nobody sees', async () => {
    await bench.start()
    const whole = await bench.outcomeOf(await bench.desk.ask({ request: { maxTokens: 30 } }))
    const stop = whole.text.slice(12, 16)
    const {
      tokenIds,
      text: said,
      end,
    } = await bench.outcomeOf(await bench.desk.ask({ request: { maxTokens: 30, stop: [stop] } }))
    expect(said).toBe(whole.text.slice(0, whole.text.indexOf(stop)))
    expect(end).toMatchObject({ status: 'completed', finishReasons: ['stop'] })
    expect(whole.tokenIds.slice(0, tokenIds.length)).toEqual(tokenIds)
    expect(tokenIds.length).toBeLessThan(30)
  })

  it('counts the tokens of its reasoning', async () => {
    await bench.start()
    const thinking = { think: true, effort: null, budget: null }
    const { end } = await bench.outcomeOf(await bench.desk.ask({ request: { maxTokens: 9, thinking } }))
    expect(end.usage).toMatchObject({ completionTokens: 9, reasoningTokens: 9 })
  })

  it('I8: counts what its tenant asked before as cached tokens, and nothing of what another asked', async () => {
    await bench.start()
    const messages = [{ role: 'user' as const, content: 'Tell me of a long and winding road. '.repeat(4) }]
    const cached: number[] = []
    for (const tenantId of ['t1', 't1', 't2']) {
      const jobId = await bench.desk.ask({ request: { maxTokens: 3, messages }, tenantId })
      cached.push((await bench.outcomeOf(jobId)).end.usage.cachedTokens)
    }
    const prompt = bench.text.promptTokens({ messages, think: false })
    expect(cached).toEqual([0, Math.floor((prompt.length - 1) / 32) * 32, 0])
    expect(cached[1]).toBeGreaterThan(0)
  })

  it('leaves nothing in BullMQ when it ended', async () => {
    await bench.start()
    await bench.outcomeOf(await bench.desk.ask({ request: { maxTokens: 3 } }))
    await expect.poll(() => bench.desk.redis.keys('*:bull:lane-0:0*')).toEqual([])
    expect(await bench.desk.queue(0).getJobCounts('active', 'prioritized', 'wait', 'failed', 'completed')).toEqual({
      active: 0,
      prioritized: 0,
      wait: 0,
      failed: 0,
      completed: 0,
    })
  })
})

describe('a job that asks for log probabilities', () => {
  const request = { maxTokens: 12, topLogprobs: 2 }

  it('has them of each token of its content in the log, those of the likeliest behind its own', async () => {
    await bench.start()
    const jobId = await bench.desk.ask({ request })
    const { tokenIds } = await bench.outcomeOf(jobId)
    expect(toldOf(jobId)).toEqual(tokenIds.map((tokenId, index) => chancesAt(7n, index, tokenId, 2)))
  })

  it('has none of its reasoning, and none unasked', async () => {
    await bench.start()
    const thinking = { think: true, effort: null, budget: null }
    for (const changes of [{ thinking }, { topLogprobs: null }]) {
      const jobId = await bench.desk.ask({ request: { ...request, ...changes } })
      expect((await bench.outcomeOf(jobId)).tokenIds).toHaveLength(12)
      expect(toldOf(jobId)).toEqual([])
    }
  })

  it('has each once when another worker takes it over', async () => {
    const jobId = await halfWritten(5, { request: { maxTokens: 60, topLogprobs: 2 } })
    await bench.startNext()
    const { tokenIds } = await bench.outcomeOf(jobId)
    expect(tokenIds).toEqual(fakeAnswer(7n, 60))
    expect(toldOf(jobId)).toEqual(tokenIds.map((tokenId, index) => chancesAt(7n, index, tokenId, 2)))
  })
})

describe('a job that cannot run', () => {
  it('fails as the invalid request it is when it biases what is no token of the model', async () => {
    await bench.start()
    const logitBias: [number, number][] = [[bench.text.vocabSize, 1]]
    const { end } = await bench.outcomeOf(await bench.desk.ask({ request: { logitBias } }))
    expect(end).toMatchObject({ status: 'failed', error: { code: 'invalid_value', param: 'logit_bias' } })
  })

  it('fails before any start entry when its prompt is longer than the context, with the numbers', async () => {
    await bench.start()
    const jobId = await bench.desk.ask({ request: { messages: [{ role: 'user', content: 'word '.repeat(3_000) }] } })
    const { end } = await bench.outcomeOf(jobId)
    expect(bench.desk.live(jobId).map(({ entry }) => entry.kind)).toEqual(['end'])
    expect(end).toMatchObject({ status: 'failed', error: { code: 'context_length_exceeded', param: 'messages' } })
    expect(end.error?.message).toMatch(/maximum context length is 2048 tokens.* resulted in at least \d{4,} tokens/)
  })

  it('fails before any start entry when the template cannot render its messages', async () => {
    await bench.start({}, { text: await textThatRefuses('please refuse') })
    const messages = [{ role: 'user', content: 'please refuse' }] as const
    const jobId = await bench.desk.ask({ request: { messages: [...messages] } })
    const { end } = await bench.outcomeOf(jobId)
    expect(end).toMatchObject({ status: 'failed', error: { code: 'template_error' } })
    expect(bench.desk.live(jobId).map(({ entry }) => entry.kind)).toEqual(['end'])
  })

  it('fails as model_error on a logit that is no number, and its neighbour does not notice', async () => {
    const [low] = seedWords(66n)
    await bench.start({ isNotFinite: (seed, index) => seed[0] === low && index === 4 })
    const [bad, good] = await Promise.all([
      bench.desk.ask({ seed: 66n, request: { maxTokens: 20 } }),
      bench.desk.ask({ seed: 8n, request: { maxTokens: 20 } }),
    ])
    expect((await bench.outcomeOf(bad)).end).toMatchObject({ status: 'failed', error: { code: 'model_error' } })
    expect((await bench.outcomeOf(good)).tokenIds).toEqual(fakeAnswer(8n, 20))
  })

  it.each(['{"messages":7}', 'not JSON'])('fails alone when its record cannot be read: %s', async (request) => {
    const jobId = await askWhileStopped({ request: { maxTokens: 3 } }, (id) =>
      bench.desk.redis.hset(keys.job(id), 'request', request),
    )
    await bench.start()
    expect((await bench.outcomeOf(jobId)).end).toMatchObject({ status: 'failed', error: { code: 'internal_error' } })
    await bench.outcomeOf(await bench.desk.ask({ request: { maxTokens: 3 } }))
  })

  it('is let go of quietly when it was cancelled before anyone took it', async () => {
    const jobId = await askWhileStopped({}, (id) => bench.desk.scripts.cancel(id))
    await bench.start()
    await expect.poll(() => bench.desk.queue(0).getJob(jobId)).toBeUndefined()
    expect((await bench.outcomeOf(jobId)).end).toMatchObject({ status: 'cancelled' })
  })
})

describe('a log that a lost worker left', () => {
  it('is continued at the next index, with a start entry of the new epoch', async () => {
    const jobId = await halfWritten(5, { request: { maxTokens: 60 } })
    await bench.startNext()
    expect((await bench.outcomeOf(jobId)).tokenIds).toEqual(fakeAnswer(7n, 60))
    const starts = bench.desk.live(jobId).filter(({ entry }) => entry.kind === 'start')
    expect(starts.map(({ entry }) => entry.kind === 'start' && entry.epoch)).toEqual([1, 2])
  })

  it('that already holds the whole answer is only finished', async () => {
    const jobId = await halfWritten(5, { request: { maxTokens: 200 } })
    const { log: written } = await readHistory(bench.desk.redis, jobId)
    const tokens = written.flatMap(({ entry }) => (entry.kind === 'token' ? entry.tokenIds : []))
    await bench.desk.redis.hset(keys.job(jobId), 'request', await withLimit(jobId, tokens.length))
    await bench.startNext()
    const { tokenIds, end } = await bench.outcomeOf(jobId)
    expect(tokenIds).toEqual(tokens)
    expect(end).toMatchObject({ status: 'incomplete', finishReasons: ['length'] })
  })

  it('whose text is not what its tokens make fails the job loudly', async () => {
    const jobId = await halfWritten(5, { request: { maxTokens: 200 } })
    const { log: written } = await readHistory(bench.desk.redis, jobId)
    const forged = written.map(({ sequence, entry }) =>
      entry.kind === 'token' && entry.index === 2
        ? { sequence, entry: { ...entry, text: 'forged' } }
        : { sequence, entry },
    )
    await bench.desk.redis.del(keys.log(jobId))
    for (const { sequence, entry } of forged) {
      await bench.desk.redis.xadd(keys.log(jobId), `${sequence}-0`, 'entry', JSON.stringify(entry))
    }
    await bench.startNext()
    expect((await bench.desk.end(jobId)).entry).toMatchObject({ status: 'failed', error: { code: 'internal_error' } })
    expect(bench.lines.some((line) => line.includes('differs from its tokens'))).toBe(true)
    expect(bench.lines.some((line) => line.includes('forged'))).toBe(false)
  })
})

describe('a log that cannot be read', () => {
  it('fails its job instead of going round from worker to worker', async () => {
    const jobId = await halfWritten(5, { request: { maxTokens: 200 } })
    const next = await bench.desk.redis.hincrby(keys.job(jobId), 'entryCount', 1)
    await bench.desk.redis.xadd(keys.log(jobId), `${next}-0`, 'entry', 'not JSON')
    await bench.startNext()
    await expect.poll(() => bench.desk.redis.hget(keys.job(jobId), 'status')).toBe('failed')
    expect(bench.lines.join('')).not.toContain('not JSON')
  })
})

/** What the log tells, a list a token. */
function toldOf(jobId: JobId): (readonly TokenChance[])[] {
  return bench.desk.live(jobId).flatMap(({ entry }) => (entry.kind === 'token' ? (entry.logProbs ?? []) : []))
}

/** What the fake Runner tells of a token, as a log keeps it. */
function chancesAt(seed: bigint, index: number, tokenId: number, count: number): readonly TokenChance[] {
  const told = logProbsOf(tokenId, contextHash([...seedWords(seed), index]), count)
  return chancesOf(told, (id) => bench.text.spell(id))
}

/** Asks while no worker runs, and lets `change` happen to the job before one does. */
async function askWhileStopped(options: AskOptions, change: (jobId: JobId) => Promise<unknown>): Promise<JobId> {
  await bench.stop()
  const jobId = await bench.desk.ask(options)
  await change(jobId)
  return jobId
}

/** Stops the worker after `count` tokens: the job waits again, its log half written. */
async function halfWritten(count: number, options: AskOptions): Promise<JobId> {
  await bench.start({ stepMs: () => 20 })
  const jobId = await bench.desk.ask(options)
  await bench.desk.tokens(jobId, count)
  await bench.stop()
  return jobId
}

/** axk1-tiny with a template that refuses one message. */
async function textThatRefuses(content: string): Promise<ModelText> {
  const folder = await mkdtemp(join(tmpdir(), 'axle-template-'))
  try {
    const source = await readFile('models/axk1-tiny/chat_template.jinja', 'utf8')
    const refusal = `{%- if messages[0].content == '${content}' -%}{{ raise_exception('no') }}{%- endif -%}`
    await writeFile(join(folder, 'chat_template.jinja'), refusal + source)
    for (const file of ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json']) {
      await copyFile(join('models/axk1-tiny', file), join(folder, file))
    }
    return await loadModelText(folder, 'axk1-tiny')
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function withLimit(jobId: JobId, maxTokens: number): Promise<string> {
  return JSON.stringify({ ...JSON.parse((await bench.desk.redis.hget(keys.job(jobId), 'request')) ?? ''), maxTokens })
}
