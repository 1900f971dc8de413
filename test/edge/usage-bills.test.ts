/** Costs and single bills over HTTP, to the nano-dollar; CSV; and whose usage a key sees. */
import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newKey, parseKey } from '../../contract/key-format.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { testPepper } from '../fixtures/edge.ts'
import { billedRows, dayMs, dayStart, firstOfMarchMs, UsageBench } from './usage-bench.ts'

const bench = UsageBench.forThisFile()
const february28 = dayStart(-1)
const march2 = dayStart(1)

describe('costs', () => {
  it('are exact to the nano-dollar by day, as the SDK reads them', async () => {
    const page = await bench.admin.admin.organization.usage.costs({ start_time: february28, end_time: march2 })
    const amounts = page.data.map((bucket) => bucket.results)
    const rest = { line_item: null, project_id: null, api_key_id: null, quantity: null, quantity_unit: null }
    const object = 'organization.costs.result'
    expect(amounts).toEqual([
      [{ object, amount: { value: 5.6e-8, currency: 'usd' }, ...rest }],
      [{ object, amount: { value: 1e-7, currency: 'usd' }, ...rest }],
    ])
  })

  it('by line item tell what was used of each, cached input apart', async () => {
    const items = await bench.results(
      `costs?start_time=${february28}&end_time=${dayStart(0)}&group_by[]=line_item&group_by[]=project_id`,
    )
    expect(items.map((item) => [item['line_item'], item['quantity'], item['amount'], item['project_id']])).toEqual([
      ['axle/model, input_tokens', 6, { value: 6e-9, currency: 'usd' }, 'tenant-1'],
      ['axle/model, cached_input_tokens', 4, { value: 0, currency: 'usd' }, 'tenant-1'],
      ['axle/model, output_tokens', 5, { value: 5e-8, currency: 'usd' }, 'tenant-1'],
    ])
  })

  it('take days only', async () => {
    expect(await bench.refusalOf('costs?start_time=100&bucket_width=1h')).toEqual([
      400,
      'invalid_value',
      'bucket_width',
    ])
  })
})

const jobList = z.object({
  data: z.array(z.record(z.string(), z.unknown())),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
})

describe('usage/jobs', () => {
  it('lists every job with its bill, page by page, in the order of their ends', async () => {
    const found: Record<string, unknown>[] = []
    let after = ''
    for (let hasMore = true; hasMore;) {
      const page = jobList.parse(await (await bench.get(`usage/jobs?start_time=0&limit=2${after}`)).json())
      expect([page.first_id, page.last_id]).toEqual([page.data[0]?.['job_id'], page.data.at(-1)?.['job_id']])
      found.push(...page.data)
      after = `&after=${page.last_id}`
      hasMore = page.has_more
    }
    expect(found.map((job) => job['job_id'])).toEqual(billedRows.map((each) => each.jobId))
    expect(found[0]).toEqual({
      object: 'organization.usage.job',
      job_id: 'job-1',
      project_id: 'tenant-1',
      api_key_id: 'key00001',
      model: 'axle/model',
      mode: 'non-think',
      service_tier: 'default',
      status: 'completed',
      input_tokens: 10,
      input_cached_tokens: 4,
      output_tokens: 5,
      output_reasoning_tokens: 0,
      input_nano: 6,
      cached_input_nano: 0,
      output_nano: 50,
      cost_nano: 56,
      admitted_at_ms: firstOfMarchMs - dayMs,
      ended_at_ms: firstOfMarchMs - 1,
    })
  })

  it('refuses a place in the list that is not known', async () => {
    expect(await bench.refusalOf('usage/jobs?start_time=0&after=job-99')).toEqual([400, 'invalid_value', 'after'])
  })
})

describe('CSV', () => {
  it('has the rows of the JSON answer, by parameter or by Accept header', async () => {
    const path = `usage/completions?start_time=${february28}&end_time=${march2}&group_by[]=project_id&group_by[]=mode`
    const response = await bench.get(path, bench.edge.adminKey, { accept: 'text/csv' })
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present')
    const text = await response.text()
    expect(text.split('\r\n')).toEqual([
      'start_time,end_time,project_id,api_key_id,model,mode,batch,service_tier,num_model_requests,input_tokens,input_cached_tokens,input_uncached_tokens,output_tokens,output_reasoning_tokens',
      `${february28},${dayStart(0)},tenant-1,,,non-think,,,1,10,4,6,5,0`,
      `${dayStart(0)},${march2},tenant-1,,,non-think,,,2,80,0,80,10,0`,
      `${dayStart(0)},${march2},tenant-1,,,think,,,1,20,0,20,7,3`,
      `${dayStart(0)},${march2},tenant-2,,,non-think,,,1,40,0,40,11,0`,
      '',
    ])
    expect(await (await bench.get(`${path}&format=csv`)).text()).toBe(text)
  })

  it('quotes what holds a comma, keeps every digit of an amount, and names the next page in a header', async () => {
    const path = `costs?start_time=${february28}&end_time=${march2}&group_by[]=line_item&limit=1&format=csv`
    const response = await bench.get(path)
    expect(response.headers.get('x-next-page')).toBe(`page_${dayStart(0) / 60}`)
    expect((await response.text()).split('\r\n')[1]).toBe(
      `${february28},${dayStart(0)},,,"axle/model, input_tokens",6,tokens,0.000000006`,
    )
  })
})

let usageKey = ''

beforeAll(async () => {
  usageKey = await newKeyOf('usage')
})

/** Of tenant-1, with this scope alone. */
async function newKeyOf(scope: string): Promise<string> {
  const key = newKey('live', randomBytes)
  await bench.edge.database
    .prepare(
      `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms)
       VALUES (?, 'tenant-1', 'live', 'test', ?, 'p1', ?, 0)`,
    )
    .bind(parseKey(key)?.id, keyDigest(key, testPepper), JSON.stringify([scope]))
    .run()
  return key
}

describe("a tenant's key", () => {
  it('sees its own project, and of others what it sees of a random id', async () => {
    const range = `start_time=${february28}&end_time=${march2}`
    const own = await bench.results(`usage/completions?${range}&group_by[]=project_id`, usageKey)
    expect(new Set(own.map((result) => result['project_id']))).toEqual(new Set(['tenant-1']))
    expect(await bench.results(`costs?${range}&group_by[]=project_id`, usageKey)).toHaveLength(2)
    for (const route of ['usage/completions', 'costs', 'usage/jobs']) {
      const other = await (await bench.get(`${route}?${range}&project_ids[]=tenant-2`, usageKey)).text()
      const random = await (await bench.get(`${route}?${range}&project_ids[]=proj_x`, usageKey)).text()
      expect([route, other]).toEqual([route, random])
    }
    const jobs = jobList.parse(await (await bench.get('usage/jobs?start_time=0', usageKey)).json())
    expect(jobs.data.map((job) => job['job_id'])).toEqual(['job-1', 'job-2', 'job-3', 'job-5'])
    const strange = await Promise.all(
      ['job-4', 'job-x'].map(async (id) => (await bench.get(`usage/jobs?start_time=0&after=${id}`, usageKey)).text()),
    )
    expect(strange[0]).toBe(strange[1])
  })

  it('without the scope usage sees nothing', async () => {
    expect((await bench.get('costs?start_time=0', await newKeyOf('inference'))).status).toBe(403)
  })
})
