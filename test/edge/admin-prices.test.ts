/** Prices: whole µUSD behind decimal dollars, one a model and moment, none ever changed. */
import { beforeAll, describe, expect, it } from 'vitest'
import { adminBench, refusalOf } from '../fixtures/admin-bench.ts'
import { announce, testModel } from '../fixtures/scripted-worker.ts'

const bench = adminBench()
beforeAll(() => announce(bench.redis.connect()))

interface Price {
  readonly id: string
  readonly effective_from: number
}
const usual = { model: testModel.id, input: 0.0375, cached_input: 0.000001, output: 1_000 }

describe('prices', () => {
  it('are told as they were sent, and stored to the µUSD', async () => {
    const made = await bench.admin.tell<Price>('/prices', usual)
    expect(made).toMatchObject({
      object: 'organization.price',
      ...usual,
      priority_percent: 200,
      flex_percent: 50,
      batch_percent: 50,
    })
    expect(Math.abs(made.effective_from - Date.now() / 1000)).toBeLessThan(5)
    const stored = await bench.edge.database
      .prepare('SELECT input_micro AS i, cached_input_micro AS c, output_micro AS o FROM prices WHERE model = ?')
      .bind(testModel.id)
      .first()
    expect(stored).toEqual({ i: 37_500, c: 1, o: 1_000_000_000 })
  })

  it('a model gets its next price for a moment to come; both stay listed, oldest first', async () => {
    const second = Math.floor(Date.now() / 1000) + 3_600
    const model = 'axle/next-model'
    const now = await bench.admin.tell<Price>('/prices', { ...usual, model })
    const next = await bench.admin.tell<Price>('/prices', { ...usual, model, effective_from: second, flex_percent: 80 })
    expect(next).toMatchObject({ effective_from: second, flex_percent: 80 })
    const pages: { data: Price[]; has_more: boolean }[] = []
    pages.push(await bench.admin.tell(`/prices?model=${encodeURIComponent(model)}&limit=1`))
    pages.push(await bench.admin.tell(`/prices?model=${encodeURIComponent(model)}&after=${encodeURIComponent(now.id)}`))
    expect(pages.map(({ data, has_more: hasMore }) => [data, hasMore])).toEqual([
      [[now], true],
      [[next], false],
    ])
    const again = await bench.admin.send('/prices', { ...usual, model, effective_from: second, output: 1 })
    expect(await refusalOf(again)).toEqual([409, 'already_exists', null])
  })

  it.each([
    ['below nothing', { input: -1 }, 'input'],
    ['above the highest', { output: 1_000.000001 }, 'output'],
    ['of seven decimals', { cached_input: 0.0000001 }, 'cached_input'],
    ['as a text', { input: '1' }, 'input'],
    ['from a moment gone', { effective_from: 1_700_000_000 }, 'effective_from'],
    ['of an alias, which would bill nothing', { model: testModel.aliases[0] }, 'model'],
    ['at 1,001 %', { priority_percent: 1_001 }, 'priority_percent'],
  ])('%s are refused', async (_name, change, param) => {
    const refusal = await refusalOf(await bench.admin.send('/prices', { ...usual, ...change }))
    expect([refusal[0], refusal[2]]).toEqual([400, param])
  })
})
