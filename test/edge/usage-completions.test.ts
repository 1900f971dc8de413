/** Tokens by time over HTTP, as the OpenAI SDK reads them: buckets, groups, filters, pages, refusals. */
import { describe, expect, it } from 'vitest'
import { bucketPage, dayStart, UsageBench } from './usage-bench.ts'

const bench = UsageBench.forThisFile()
const february28 = dayStart(-1)
const march2 = dayStart(1)

async function inputOf(filter: string): Promise<unknown[]> {
  const path = `usage/completions?start_time=${february28}&end_time=${march2}&${filter}`
  return (await bench.results(path)).map((result) => result['input_tokens'])
}

/** So many keys that used something in one minute. */
async function fill(minute: number, keyCount: number): Promise<void> {
  await bench.edge.database.exec(
    `INSERT INTO usage_minutes WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${keyCount}) SELECT ${minute}, 'tenant-1', 'k' || i, 'crowd', 0, 'default', 1, 1, 0, 1, 0, 0, 0, 0 FROM n`,
  )
}

describe('usage/completions', () => {
  it('tells whole UTC days with all counts, empty days too, as the SDK reads them', async () => {
    const page = await bench.admin.admin.organization.usage.completions({
      start_time: dayStart(-2) + 5,
      end_time: march2,
    })
    expect(page).toMatchObject({ object: 'page', has_more: false, next_page: null })
    expect(page.data.map((bucket) => [bucket.start_time, bucket.end_time])).toEqual(
      [-2, -1, 0].map((day) => [dayStart(day), dayStart(day + 1)]),
    )
    const nothing = { project_id: null, user_id: null, api_key_id: null, model: null, batch: null, mode: null }
    expect(page.data.map((bucket) => bucket.results)).toEqual([
      [],
      [
        {
          object: 'organization.usage.completions.result',
          input_tokens: 10,
          input_cached_tokens: 4,
          input_uncached_tokens: 6,
          output_tokens: 5,
          output_reasoning_tokens: 0,
          num_model_requests: 1,
          service_tier: null,
          ...nothing,
        },
      ],
      [
        {
          object: 'organization.usage.completions.result',
          input_tokens: 140,
          input_cached_tokens: 0,
          input_uncached_tokens: 140,
          output_tokens: 28,
          output_reasoning_tokens: 3,
          num_model_requests: 4,
          service_tier: null,
          ...nothing,
        },
      ],
    ])
  })

  it('by minute: a row counts in the minute it ended in, the last millisecond included', async () => {
    const path = `usage/completions?start_time=${dayStart(0) - 60}&end_time=${dayStart(0) + 120}&bucket_width=1m`
    expect((await bench.results(path)).map((result) => [result['input_tokens'], result['num_model_requests']])).toEqual(
      [
        [10, 1],
        [50, 2],
        [40, 1],
      ],
    )
  })

  it('groups by every field, and names only the fields it was asked to group by', async () => {
    const page = await bench.admin.admin.organization.usage.completions({
      start_time: february28,
      end_time: march2,
      group_by: ['project_id', 'api_key_id', 'model', 'batch', 'service_tier'],
    })
    const found = page.data.flatMap((bucket) => bucket.results)
    expect(found).toHaveLength(4)
    expect(found).toMatchObject([
      { project_id: 'tenant-1', api_key_id: 'key00001', model: 'axle/model', batch: false, service_tier: 'default' },
      { api_key_id: 'key00001', input_tokens: 70, num_model_requests: 2, mode: null },
      { api_key_id: 'key00002', service_tier: 'flex', input_tokens: 30 },
      { project_id: 'tenant-2', input_tokens: 40 },
    ])
    const byMode = await bench.results(`usage/completions?start_time=${february28}&end_time=${march2}&group_by=mode`)
    expect(byMode).toMatchObject([
      { mode: 'non-think', output_tokens: 5 },
      { mode: 'non-think', output_tokens: 21 },
      { mode: 'think', output_tokens: 7, output_reasoning_tokens: 3, model: null },
    ])
  })

  it('filters by project, key, model and batch', async () => {
    expect(await inputOf('project_ids[]=tenant-2')).toEqual([40])
    expect(await inputOf('project_ids=tenant-2&project_ids=tenant-1')).toEqual([10, 140])
    expect(await inputOf('api_key_ids[]=key00002&api_key_ids[]=key00003')).toEqual([70])
    expect(await inputOf('models[]=other')).toEqual([])
    expect(await inputOf('batch=true')).toEqual([])
    expect(await inputOf('batch=false')).toEqual([10, 140])
  })

  it('pages: all pages together are the whole, bucket by bucket', async () => {
    const range = `usage/completions?start_time=${february28}&end_time=${march2}&bucket_width=1h`
    const whole = bucketPage.parse(await (await bench.get(`${range}&limit=168`)).json())
    const starts: number[] = []
    let next: string | null = ''
    while (next !== null) {
      const path: string = `${range}&limit=10${next === '' ? '' : `&page=${next}`}`
      const page = bucketPage.parse(await (await bench.get(path)).json())
      expect(page.has_more).toBe(page.next_page !== null)
      starts.push(...page.data.map((bucket) => bucket.start_time))
      next = page.next_page
    }
    expect(starts).toHaveLength(48)
    expect(starts).toEqual(whole.data.map((bucket) => bucket.start_time))
  })

  it('ends a page early where it would grow beyond bounds, and refuses a bucket that does alone', async () => {
    await fill(0, 6_000)
    await fill(1, 6_000)
    await fill(2, 10_001)
    const path = 'usage/completions?end_time=180&bucket_width=1m&group_by[]=api_key_id'
    const first = bucketPage.parse(await (await bench.get(`${path}&start_time=0`)).json())
    expect(first.data.map((bucket) => bucket.results.length)).toEqual([6_000])
    const second = bucketPage.parse(await (await bench.get(`${path}&start_time=0&page=${first.next_page}`)).json())
    expect(second.data.map((bucket) => bucket.results.length)).toEqual([6_000])
    expect(second.next_page).toBe('page_2')
    expect(await bench.refusalOf(`${path}&start_time=120`)).toEqual([400, 'invalid_value', 'group_by'])
  })

  it.each([
    ['', 'missing_required_parameter', 'start_time'],
    ['start_time=1780000000000', 'invalid_value', 'start_time'],
    ['start_time=-1', 'invalid_value', 'start_time'],
    ['start_time=100&start_time=200', 'invalid_type', 'start_time'],
    ['start_time=100&end_time=100', 'contradictory_parameters', 'end_time'],
    ['start_time=100&bucket_width=2d', 'invalid_value', 'bucket_width'],
    ['start_time=100&limit=0', 'invalid_value', 'limit'],
    ['start_time=100&limit=32', 'invalid_value', 'limit'],
    ['start_time=100&bucket_width=1m&limit=1441', 'invalid_value', 'limit'],
    ['start_time=100&group_by[]=user_id', 'invalid_value', 'group_by[0]'],
    ['start_time=100&batch=1', 'invalid_value', 'batch'],
    ['start_time=100&page=page_1', 'invalid_value', 'page'],
    ['start_time=100&page=x', 'invalid_value', 'page'],
    ['start_time=100&__proto__=x', 'unknown_parameter', '__proto__'],
    ['start_time=100&user_ids[]=x', 'unknown_parameter', 'user_ids'],
  ])('refuses %j as %s', async (parameters, code, param) => {
    expect(await bench.refusalOf(`usage/completions?${parameters}`)).toEqual([400, code, param])
  })
})
