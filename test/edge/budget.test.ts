/** A monthly budget over HTTP: raced, kept to the nano, and found again where Redis does not know it. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { adminBench } from '../fixtures/admin-bench.ts'
import { answerAll, startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'
import { newTenant, setPrice, type Tenant } from '../fixtures/tenants.ts'

/** $100 a million: 100,000 nano-USD an answer token. A cent pays for a hundred. */
const price = { inputMicro: 0, cachedInputMicro: 0, outputMicro: 100_000_000 }
const centNano = 10_000_000
const unlimited = { max_requests_per_1_minute: 100_000, max_concurrent_requests: 5_000, max_queued_requests: 5_000 }
const bench = adminBench()
const over = new AbortController()
let worker: ScriptedWorker

beforeAll(async () => {
  worker = await startScriptedWorker(bench.redis, 2)
  await setPrice(bench, testModel.id, price)
  void answerAll(worker, over.signal, () => ['x'])
}, 60_000)
afterAll(() => {
  over.abort()
  return worker.stop()
})

const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hi' }], max_completion_tokens: 1 }

async function money({ id }: Tenant): Promise<number[]> {
  return (await worker.redis.hmget(keys.quota(id), 'spentNano', 'reservedNano')).map(Number)
}

function setBudget({ id }: Tenant, cents: number): Promise<unknown> {
  const budget = { currency: 'USD', interval: 'month', threshold_amount: cents }
  return bench.admin.tell(`/projects/${id}/spend_limit`, budget)
}

it('1,000 requests at once race a budget of 100: 100 are served, 900 are told insufficient_quota, not a nano is lost', async () => {
  const tenant = await newTenant(bench, { limits: unlimited, budgetCents: 1 })
  const responses = await Promise.all(Array.from({ length: 1_000 }, () => tenant.chat(chat)))
  const served = responses.filter(({ status }) => status === 200)
  const refused = responses.filter(({ status }) => status === 429)
  expect([served.length, refused.length]).toEqual([100, 900])
  await Promise.all(served.map((response) => response.arrayBuffer()))
  for (const response of refused) {
    const { error }: { error: object } = await response.json()
    expect(error).toMatchObject({ code: 'insufficient_quota', type: 'insufficient_quota' })
    expect(response.headers.get('x-should-retry')).toBe('false')
    expect(response.headers.has('retry-after')).toBe(false)
    expect(response.headers.has('x-ratelimit-remaining-requests')).toBe(true)
  }
  expect(await money(tenant)).toEqual([centNano, 0])
}, 120_000)

it('a budget that comes late counts what the month has cost: by rows not yet drained, by rows in D1, by each once', async () => {
  const tenant = await newTenant(bench, { limits: unlimited })
  for (let i = 0; i < 60; i++) expect((await tenant.chat(chat)).status).toBe(200)
  await setBudget(tenant, 1)
  // The key lookup, and with it the budget, may be five seconds old.
  const knows = async () => {
    const response = await tenant.chat(chat)
    await response.arrayBuffer()
    return (await worker.redis.hget(keys.quota(tenant.id), 'month')) !== null
  }
  await expect.poll(knows, { timeout: 10_000, interval: 200 }).toBe(true)
  const [spentNano = 0] = await money(tenant)
  const rows = async () =>
    (await worker.redis.xrange(keys.usage, '-', '+')).filter(([, flat]) => flat.includes(tenant.id))
  expect(spentNano).toBe(((await rows()).length * price.outputMicro) / 1_000)

  // The counters are lost; half of the bill stands in D1 by now, and then all of it stands in both.
  await bench.edge.scheduled()
  await worker.redis.del(keys.quota(tenant.id))
  expect((await tenant.chat(chat)).status).toBe(200)
  expect(await money(tenant)).toEqual([spentNano + price.outputMicro / 1_000, 0])
  const undrained = await rows()
  await bench.edge.scheduled()
  for (const [, flat] of undrained) await worker.redis.xadd(keys.usage, '*', ...flat)
  await worker.redis.del(keys.quota(tenant.id))
  expect((await tenant.chat(chat)).status).toBe(200)
  expect(await money(tenant)).toEqual([spentNano + (2 * price.outputMicro) / 1_000, 0])
}, 60_000)

it('D1 away where the month is not known: 503 for that tenant alone, never a request beyond the budget', async () => {
  const [known, unknown] = [await newTenant(bench, { budgetCents: 1 }), await newTenant(bench, { budgetCents: 1 })]
  expect((await known.chat(chat)).status).toBe(200)
  // Its key is known, its month is not.
  expect((await unknown.chat({ ...chat, model: 'nope' })).status).toBe(404)
  await bench.edge.database.exec('ALTER TABLE usage_minutes RENAME TO away')
  try {
    const refused = await unknown.chat(chat)
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await refused.json()).toMatchObject({ error: { code: 'queue_unavailable' } })
    expect((await known.chat(chat)).status).toBe(200)
  } finally {
    await bench.edge.database.exec('ALTER TABLE away RENAME TO usage_minutes')
  }
  expect((await unknown.chat(chat)).status).toBe(200)
})
