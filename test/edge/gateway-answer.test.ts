/** The real bundle in real workerd over a real Redis: answers, whole and streamed. */
import { OpenAI } from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { headersAfterMs, keepAliveWaitingMs } from '../../contract/limits.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { readAll, readEvents, take, textOf } from '../fixtures/event-stream.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'
import { startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'

const laneCount = 2
let redis: TestRedis
let edge: TestEdge
let worker: ScriptedWorker

beforeAll(async () => {
  redis = await startRedis()
  edge = await startTestEdge(redis.url, { laneCount })
  worker = await startScriptedWorker(redis, laneCount)
}, 60_000)
afterAll(async () => {
  await worker.stop()
  await edge.stop()
  await redis.stop()
})

const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hello' }] }
const streamed = { ...chat, stream: true }

function auto(content: string): Promise<Response> {
  return edge.chat({ ...chat, messages: [{ role: 'user', content }], thinking: { type: 'auto' } })
}

describe('an answer', () => {
  it('is one object when it is not streamed, and the request reaches the worker as it was meant', async () => {
    const answer = edge.chat({ ...chat, seed: -7, max_tokens: 5, temperature: 0, stop: 'x', reasoning_effort: 'low' })
    const job = await worker.next()
    expect(job.record).toMatchObject({
      model: testModel.id,
      tenantId: 'tenant-local',
      seed: -7n,
      request: {
        messages: [{ role: 'user', content: 'hello' }],
        thinking: { think: true, effort: 'low', budget: null },
        maxTokens: 5,
        temperature: 0,
        stop: ['x'],
      },
    })
    await job.start()
    await job.say('because', 'reasoning')
    await job.say('한국')
    await job.say('어')
    await job.end({ status: 'incomplete', finishReasons: ['length'] })
    const response = await answer
    expect(response.status).toBe(200)
    expect(response.headers.get('x-axle-mode')).toBe('think')
    expect(await response.json()).toMatchObject({
      id: `chatcmpl-${job.record.id}`,
      model: testModel.id,
      system_fingerprint: 'fp_test',
      choices: [
        { message: { content: '한국어', reasoning_content: 'because', reasoning: 'because' }, finish_reason: 'length' },
      ],
      usage: {
        prompt_tokens: 7,
        completion_tokens: 3,
        prompt_tokens_details: { cached_tokens: 3 },
        completion_tokens_details: { reasoning_tokens: 1 },
      },
    })
  })

  it('streams each token as it comes: none waits for the next', async () => {
    const answer = edge.chat({ ...streamed, stream_options: { include_usage: true } })
    const job = await worker.next()
    await job.start()
    const response = await answer
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(response.headers.get('x-axle-mode')).toBe('non-think')
    const events = readEvents(response)
    expect((await take(events)).id).toBe('1')
    for (const [i, text] of ['one', ' two', ' three'].entries()) {
      await job.say(text)
      const event = await take(events)
      expect(event.id).toBe(`${i + 2}`)
      expect(textOf([event])).toBe(text)
    }
    await job.end()
    const rest = [await take(events), await take(events), await take(events)]
    expect(rest.map((event) => event.id)).toEqual([null, '5', null])
    expect(rest.at(-1)?.data).toBe('[DONE]')
    expect((await events.next()).done).toBe(true)
  })

  it('is what the OpenAI SDK parses, streamed and not, with the draw of a seed', async () => {
    const client = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: edge.tenantKey, maxRetries: 0 })
    const request = { model: 'test-alias', messages: [{ role: 'user' as const, content: 'hi' }] }
    const whole = client.chat.completions.create(request)
    const first = await worker.next()
    await first.answer(['A', 'B'])
    expect((await whole).choices[0]?.message.content).toBe('AB')

    const stream = client.chat.completions.create({ ...request, stream: true })
    const second = await worker.next()
    await second.answer(['C', 'D'])
    let text = ''
    for await (const chunk of await stream) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).toBe('CD')
    expect(second.record.seed).not.toBe(first.record.seed)

    const models = await client.models.list()
    expect(models.data.map((model) => model.id)).toEqual([testModel.id, 'test-alias'])
    expect(await client.models.retrieve(testModel.id)).toMatchObject({ id: testModel.id, object: 'model' })
  })

  it('holds status and headers back until the log says something, so that an early failure is a plain error', async () => {
    const answer = edge.chat(streamed)
    const job = await worker.next()
    const error = { code: 'context_length_exceeded', message: 'Too long.', param: 'messages' } as const
    await job.end({ status: 'failed', finishReasons: [], error })
    const response = await answer
    expect(response.status).toBe(400)
    expect(await response.json()).toEqual({ error: { ...error, type: 'invalid_request_error' } })
  })

  it('waits for the log no longer than 5 s with its status, and is kept alive from then on', async () => {
    const askedAtMs = performance.now()
    const answer = edge.chat(streamed)
    const job = await worker.next()
    const response = await answer
    expect(response.status).toBe(200)
    expect(performance.now() - askedAtMs).toBeGreaterThan(headersAfterMs - 100)
    expect(performance.now() - askedAtMs).toBeLessThan(headersAfterMs + keepAliveWaitingMs)
    const events = readEvents(response)
    expect(await take(events)).toEqual({ id: null, data: null })
    const error = { code: 'context_length_exceeded', message: 'Too long.', param: 'messages' } as const
    await job.end({ status: 'failed', finishReasons: [], error })
    expect(JSON.parse((await take(events)).data ?? '')).toMatchObject({ error: { code: error.code } })
    expect((await events.next()).done).toBe(true)
  })

  it('that fails late ends in an error frame and without [DONE]', async () => {
    const answer = edge.chat(streamed)
    const job = await worker.next()
    await job.start()
    await job.say('half')
    await job.end({
      status: 'failed',
      finishReasons: [],
      error: { code: 'model_error', message: 'Broke.', param: null },
    })
    const events = await readAll(await answer)
    expect(textOf(events.slice(0, 2))).toBe('half')
    expect(JSON.parse(events.at(-1)?.data ?? '')).toMatchObject({ error: { code: 'model_error' } })
    expect(events.some((event) => event.data === '[DONE]')).toBe(false)
  })

  it('that fails late and is not streamed still has its status', async () => {
    const answer = edge.chat(chat)
    const job = await worker.next()
    await job.start()
    await job.end({ status: 'failed', finishReasons: [], error: null })
    expect((await answer).status).toBe(500)
  })

  it('comes with comments while no token does, and a silent worker costs the answer nothing', async () => {
    const [stream, whole] = [edge.chat(streamed), edge.chat(chat)]
    const jobs = [await worker.next(), await worker.next()]
    await Promise.all(jobs.map((job) => job.start()))
    const events = readEvents(await stream)
    expect((await take(events)).id).toBe('1')
    expect((await take(events)).data).toBeNull()
    const response = await whole
    await Promise.all(jobs.map((job) => job.say('late').then(() => job.end())))
    expect(textOf([await take(events)])).toBe('late')
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: 'late' } }] })
  })

  it('loses and repeats nothing in 32 streams at once', async () => {
    const texts = Array.from({ length: 60 }, (_, i) => ` ${i}`)
    const serve = async () => {
      for (let i = 0; i < 32; i++) {
        const job = await worker.next()
        const canary = job.record.request.messages[0]?.content ?? ''
        void job.answer([canary, ...texts])
      }
    }
    const ask = async (i: number) => {
      const canary = `stream-${i}`
      const response = await edge.chat({ ...streamed, messages: [{ role: 'user', content: canary }] })
      const events = await readAll(response)
      expect(textOf(events)).toBe(canary + texts.join(''))
      expect(events.at(-1)?.data).toBe('[DONE]')
    }
    await Promise.all([serve(), ...Array.from({ length: 32 }, (_, i) => ask(i))])
  })
})

describe('auto', () => {
  it.each([
    ['Prove that 2 + 2 = 4 step by step.', 'think', true],
    ['Hello there', 'non-think', false],
  ])('picks for %j and says so', async (content, mode, think) => {
    const answer = auto(content)
    const job = await worker.next()
    expect(job.record.request.thinking.think).toBe(think)
    await job.answer(['ok'])
    expect((await answer).headers.get('x-axle-mode')).toBe(mode)
  })
})
