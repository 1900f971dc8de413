/** What the gateway counts of its answers, as it stands in Redis for metrics: every answer, no client's text. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { readAll } from '../fixtures/event-stream.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'
import { startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'

let redis: TestRedis
let edge: TestEdge
let worker: ScriptedWorker

beforeAll(async () => {
  redis = await startRedis()
  edge = await startTestEdge(redis.url)
  worker = await startScriptedWorker(redis, 2)
}, 60_000)
afterAll(async () => {
  await worker.stop()
  await edge.stop()
  await redis.stop()
})

it('every answer counts once, by route and status; a stream also by its first token; no client’s text is a name', async () => {
  const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hi' }], stream: true }
  const answer = edge.chat(chat)
  await (await worker.next()).answer(['A', 'B'])
  await readAll(await answer)
  const canary = 'canary-41f'
  await Promise.all([
    edge.send('/v1/models'),
    edge.send(`/v1/models/${canary}`),
    edge.send(`/${canary}`),
    edge.send(`/v1/models/${canary}`, { method: 'DELETE' }),
    fetch(`${edge.url}/v1/models`),
    edge.chat({ ...chat, [canary]: 1 }),
  ])
  const counters = () => worker.redis.hgetall(keys.gateway)
  const counted = async () =>
    Object.entries(await counters())
      .filter(([name]) => name.startsWith('requests:'))
      .reduce((sum, [, count]) => sum + Number(count), 0)
  await expect.poll(counted, { timeout: 10_000 }).toBe(7)
  const all = await counters()
  expect(all).toMatchObject({
    'requests:/v1/chat/completions:200': '1',
    'requests:/v1/chat/completions:400': '1',
    'requests:/v1/models:200': '1',
    'requests:/v1/models:401': '1',
    'requests:/v1/models/:model:404': '1',
    'requests:/v1/models/:model:405': '1',
    'requests:none:404': '1',
    'refused:unknown_parameter': '1',
    'refused:missing_api_key': '1',
    'refused:model_not_found': '1',
    'refused:method_not_allowed': '1',
    'refused:not_found': '1',
  })
  const buckets = (prefix: string) =>
    Object.entries(all).filter(([name]) => name.startsWith(prefix) && !name.includes('Sum'))
  expect(buckets('ttft:').map(([, count]) => count)).toEqual(['1'])
  expect(buckets('duration:').reduce((sum, [, count]) => sum + Number(count), 0)).toBe(7)
  expect(JSON.stringify(all)).not.toContain(canary)
})

it('what Redis could not be told is told when it is back', async () => {
  const before = Number(await worker.redis.hget(keys.gateway, 'requests:/healthz:200'))
  await redis.kill()
  await edge.send('/healthz')
  await expect.poll(() => edge.logs.some((line) => line.includes('counters-kept')), { timeout: 10_000 }).toBe(true)
  await redis.start()
  await edge.send('/healthz')
  await expect
    .poll(async () => Number(await worker.redis.hget(keys.gateway, 'requests:/healthz:200')), { timeout: 10_000 })
    .toBe(before + 2)
})
