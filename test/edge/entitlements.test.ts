/** What a key and a project may ask for, and at which price: models, service tiers, the price in force. */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { priorityOf } from '../../contract/quota.ts'
import { tierHeadStartTokens, tierOffsets } from '../../contract/limits.ts'
import { adminBench } from '../fixtures/admin-bench.ts'
import { readAll } from '../fixtures/event-stream.ts'
import { startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'
import { newTenant, setPrice } from '../fixtures/tenants.ts'

const bench = adminBench()
let worker: ScriptedWorker

beforeAll(async () => {
  worker = await startScriptedWorker(bench.redis, 2)
  await setPrice(bench, testModel.id, { inputMicro: 1_000_000, cachedInputMicro: 100_001, outputMicro: 3_000_000 })
}, 60_000)
afterAll(() => worker.stop())

const chat = { model: testModel.id, messages: [{ role: 'user' as const, content: 'hi' }] }

async function errorOf(response: Response): Promise<[number, string, string | null]> {
  const { error }: { error: { code: string; param: string | null } } = await response.json()
  return [response.status, error.code, error.param]
}

describe('service_tier', () => {
  it.each([
    [undefined, 'default'],
    [null, 'default'],
    ['auto', 'default'],
    ['default', 'default'],
    ['flex', 'flex'],
    ['priority', 'priority'],
  ] as const)('%s is served as %s, and the answer says so', async (asked, served) => {
    const tenant = await newTenant(bench, { project: { tiers: ['priority', 'default', 'flex'] } })
    const apiKey = tenant.authorization.slice('Bearer '.length)
    const client = new OpenAI({ baseURL: `${bench.edge.url}/v1`, apiKey, maxRetries: 0 })
    const request = { ...chat, ...(asked === undefined ? {} : { service_tier: asked }) }
    const answer = client.chat.completions.create(request)
    const job = await worker.next()
    expect(job.record.tier).toBe(served)
    const queueTag = Number(await worker.redis.hget(keys.job(job.record.id), 'queueTag'))
    expect(queueTag).toBe(tierOffsets[served] * tierHeadStartTokens)
    expect(job.record.priority).toBe(priorityOf(queueTag, 0))
    await job.answer(['x'])
    expect((await answer).service_tier).toBe(served)
    await expect.poll(() => worker.redis.zcard(keys.open)).toBe(0)
  })

  it('is in every chunk of a stream', async () => {
    const answer = bench.edge.chat({ ...chat, service_tier: 'flex', stream: true })
    await (await worker.next()).answer(['a', 'b'])
    const chunks = (await readAll(await answer)).filter(({ data }) => data !== '[DONE]')
    expect(chunks.length).toBeGreaterThan(2)
    for (const { data } of chunks) expect(JSON.parse(data ?? '')).toMatchObject({ service_tier: 'flex' })
  })

  it('left to the server is the project’s default', async () => {
    const tenant = await newTenant(bench, { project: { tiers: ['default', 'flex'], default_tier: 'flex' } })
    const answer = tenant.chat({ ...chat, service_tier: 'auto' })
    const job = await worker.next()
    await job.answer(['x'])
    expect(await (await answer).json()).toMatchObject({ service_tier: 'flex' })
  })

  it('that the project does not have is 403, one for batches alone is 400', async () => {
    const tenant = await newTenant(bench)
    const refused = await tenant.chat({ ...chat, service_tier: 'priority' })
    expect(await errorOf(refused)).toEqual([403, 'service_tier_not_allowed', 'service_tier'])
    const batch = await tenant.chat({ ...chat, service_tier: 'batch' })
    expect(await errorOf(batch)).toEqual([400, 'unsupported_parameter', 'service_tier'])
  })

  it('has its own price: twice for priority, half for flex; the bill is that of the hand', async () => {
    const tenant = await newTenant(bench, { project: { tiers: ['priority', 'default', 'flex'] } })
    // 7 prompt tokens of which 3 were cached, 2 answer tokens; each item rounded up once, after the factor was rounded down.
    const bills = { default: [4_000, 301, 6_000], priority: [8_000, 601, 12_000], flex: [2_000, 150, 3_000] }
    for (const [tier, bill] of Object.entries(bills)) {
      const answer = tenant.chat({ ...chat, service_tier: tier })
      const job = await worker.next()
      await job.answer(['a', 'b'])
      expect((await answer).status).toBe(200)
      const rows = await worker.redis.xrange(keys.usage, '-', '+')
      const flat = rows.find(([, fields]) => fields.includes(job.record.id))?.[1] ?? []
      const field = (name: string) => Number(flat[flat.indexOf(name) + 1])
      expect([field('inputNano'), field('cachedNano'), field('outputNano')]).toEqual(bill)
    }
  })
})

describe('a key with an allow-list', () => {
  it.each([[[testModel.id]], [['test-alias', 'other']]])('%j uses the model under all of its names', async (models) => {
    const tenant = await newTenant(bench, { key: { models } })
    for (const model of [testModel.id, 'test-alias']) {
      const answer = tenant.chat({ ...chat, model })
      await (await worker.next()).answer(['x'])
      expect((await answer).status).toBe(200)
    }
    const listed = await bench.edge.send('/v1/models', { headers: { authorization: tenant.authorization } })
    const { data }: { data: { id: string }[] } = await listed.json()
    expect(data.map(({ id }) => id)).toEqual([testModel.id, 'test-alias'])
  })

  it('of other models is refused this one and sees none; what does not exist is 404 all the same', async () => {
    const tenant = await newTenant(bench, { key: { models: ['other'] } })
    const headers = { authorization: tenant.authorization }
    expect(await errorOf(await tenant.chat(chat))).toEqual([403, 'model_not_allowed', 'model'])
    expect(await errorOf(await tenant.chat({ ...chat, model: 'other' }))).toEqual([404, 'model_not_found', 'model'])
    expect(await (await bench.edge.send('/v1/models', { headers })).json()).toEqual({ object: 'list', data: [] })
    const retrieved = await bench.edge.send(`/v1/models/${testModel.id}`, { headers })
    expect(await errorOf(retrieved)).toEqual([404, 'model_not_found', 'model'])
    expect(await worker.redis.zcard(keys.open)).toBe(0)
  })
})
