/**
 * A Broker that is taken away in mid-answer, as the platform does when it moves a Durable Object or ships new code: all it
 * remembers is gone, and no client notices.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { startDoorEdge, type DoorEdge } from '../fixtures/broker-door.ts'
import { readEvents, textOf, type StreamEvent } from '../fixtures/event-stream.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'
import { startScriptedWorker, testModel, type ScriptedJob, type ScriptedWorker } from '../fixtures/scripted-worker.ts'

const laneCount = 1
const dropBudgetMs = 3_000
let redis: TestRedis
let edge: DoorEdge
let worker: ScriptedWorker

beforeAll(async () => {
  redis = await startRedis()
  edge = await startDoorEdge(redis.url, laneCount)
  worker = await startScriptedWorker(redis, laneCount)
}, 60_000)
afterAll(async () => {
  await worker.stop()
  await edge.stop()
  await redis.stop()
})

const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hello' }] }
const streamed = { ...chat, stream: true }

async function take(events: AsyncGenerator<StreamEvent>): Promise<StreamEvent> {
  for (;;) {
    const { value, done } = await events.next()
    if (done === true) throw new Error('The stream ended')
    if (value.data !== null) return value
  }
}

/** A streamed answer under way: its job has begun and its client has seen so. */
async function begin(): Promise<{ job: ScriptedJob; events: AsyncGenerator<StreamEvent>; leave: () => void }> {
  const leaving = new AbortController()
  const answer = edge.chat(streamed, { signal: leaving.signal })
  const job = await worker.next()
  await job.start()
  const events = readEvents(await answer)
  await take(events)
  return { job, events, leave: () => leaving.abort() }
}

describe('an answer whose Broker is aborted', () => {
  it('streams on, each token once and in order, however often it happens', async () => {
    const { job, events } = await begin()
    for (const text of ['A', 'B', 'C', 'D']) {
      await edge.abortBroker()
      await job.say(text)
      expect(textOf([await take(events)])).toBe(text)
    }
    await edge.abortBroker()
    await job.end()
    const rest = [await take(events), await take(events)]
    expect(rest.map(({ id, data }) => [id, data === '[DONE]'])).toEqual([
      ['6', false],
      [null, true],
    ])
  })

  it('loses nothing that was said while no Broker stood, in many streams at once', async () => {
    // One after another, or a stream could be handed another's job.
    const streams: Awaited<ReturnType<typeof begin>>[] = []
    for (let i = 0; i < 8; i++) streams.push(await begin())
    const said = streams.map(async ({ job }, i) => {
      for (let n = 0; n < 40; n++) await job.say(`${i}.${n} `)
      await job.end()
    })
    await edge.abortBroker()
    await edge.abortBroker()
    await Promise.all(said)
    for (const [i, { events }] of streams.entries()) {
      const seen: StreamEvent[] = []
      for await (const event of events) seen.push(event)
      expect(textOf(seen)).toBe(Array.from({ length: 40 }, (_, n) => `${i}.${n} `).join(''))
      expect(seen.at(-1)?.data).toBe('[DONE]')
    }
  })

  it('that is not streamed comes whole', async () => {
    const answer = edge.chat(chat)
    const job = await worker.next()
    await job.start()
    await job.say('A')
    await edge.abortBroker()
    await job.say('B')
    await job.end()
    expect(await (await answer).json()).toMatchObject({ choices: [{ message: { content: 'AB' } }] })
  })

  it('is still given up when its client leaves, as if nothing had happened', async () => {
    const { job, events, leave } = await begin()
    await edge.abortBroker()
    await job.say('A')
    await take(events)
    leave()
    await expect
      .poll(
        async () => {
          await job.say('x')
          return worker.redis.hget(keys.job(job.record.id), 'cancel')
        },
        { timeout: dropBudgetMs },
      )
      .toBe('1')
    await job.end({ status: 'cancelled', finishReasons: [] })
  })

  it('breaks where the gateway does not take it up again', async () => {
    const { job, events } = await begin()
    const raw = await edge.rawLog(job.record.id)
    const outcome = raw.text().then(
      () => 'whole',
      () => 'broken',
    )
    await edge.abortBroker()
    expect(await outcome).toBe('broken')
    await job.say('A')
    expect(textOf([await take(events)])).toBe('A')
    await job.end()
    await events.return(undefined)
  })

  it('goes on also when Redis is away at that moment', async () => {
    // What Redis has confirmed must outlive its death here: the gateway is on trial, not the disk.
    await worker.redis.config('SET', 'appendfsync', 'always')
    const { job, events } = await begin()
    await job.say('A')
    await redis.kill()
    await edge.abortBroker()
    const rest = readRest(events)
    await new Promise((resolve) => setTimeout(resolve, 700))
    await redis.start()
    await job.say('B')
    await job.end()
    expect(textOf(await rest)).toBe('AB')
  })
})

async function readRest(events: AsyncGenerator<StreamEvent>): Promise<StreamEvent[]> {
  const seen: StreamEvent[] = []
  for await (const event of events) seen.push(event)
  return seen
}
