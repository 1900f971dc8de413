/** The price of a moment: from D1's rows, by tier, and for an hour without D1. On a real D1. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyStaleMaxMs, priceMicroMax } from '../../contract/limits.ts'
import { freePrice } from '../../contract/money.ts'
import { priceAt, Prices, type PriceRow } from '../../edge/broker/prices.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'

const row: PriceRow = {
  effectiveFromMs: 1_000,
  inputMicro: 37_501,
  cachedInputMicro: 0,
  outputMicro: priceMicroMax,
  priorityPercent: 200,
  flexPercent: 50,
  batchPercent: 0,
}

describe('priceAt()', () => {
  it('takes the newest price that is in force: free before the first, the next one on its millisecond', () => {
    const rows = [row, { ...row, effectiveFromMs: 2_000, inputMicro: 5 }]
    expect(priceAt(rows, 'default', 999)).toEqual(freePrice)
    expect(priceAt(rows, 'default', 1_000).inputMicro).toBe(37_501)
    expect(priceAt(rows, 'default', 1_999).inputMicro).toBe(37_501)
    expect(priceAt(rows, 'default', 2_000).inputMicro).toBe(5)
    expect(priceAt([], 'default', 1)).toEqual(freePrice)
  })

  it.each([
    ['default', 37_501, priceMicroMax],
    ['priority', 75_002, priceMicroMax],
    ['flex', 18_750, priceMicroMax / 2],
    ['batch', 0, 0],
  ] as const)('%s: the tier’s percentage, rounded down, never above the highest price', (tier, input, output) => {
    expect(priceAt([row], tier, 1_000)).toEqual({ inputMicro: input, cachedInputMicro: 0, outputMicro: output })
  })
})

describe('Prices', () => {
  let edge: TestEdge
  beforeAll(async () => {
    edge = await startTestEdge('redis://127.0.0.1:1')
  }, 60_000)
  afterAll(() => edge.stop())

  const set = (model: string, fromMs: number, inputMicro: number) =>
    edge.database
      .prepare(
        `INSERT INTO prices (model, effective_from_ms, input_micro, cached_input_micro, output_micro)
         VALUES (?, ?, ?, 0, 0)`,
      )
      .bind(model, fromMs, inputMicro)
      .run()
  const inputAt = async (prices: Prices, model: string, nowMs: number) =>
    (await prices.of(edge.database, model, 'default', nowMs)).inputMicro

  it('knows a price that is to come on time, without asking again, and a changed one within a minute', async () => {
    const prices = new Prices()
    await set('changing', 500, 1)
    await set('changing', 1_000, 2)
    await set('changing', 30_000, 3)
    expect(await inputAt(prices, 'changing', 2_000)).toBe(2)
    await set('changing', 10_000, 9)
    expect(await inputAt(prices, 'changing', 29_999)).toBe(2)
    expect(await inputAt(prices, 'changing', 30_000)).toBe(3)
    await set('changing', 61_000, 4)
    expect(await inputAt(prices, 'changing', 62_000)).toBe(4)
  })

  it('with D1 away gives the last known price for an hour, then none; one never read, none; and heals', async () => {
    const prices = new Prices()
    await set('kept', 0, 7)
    expect(await inputAt(prices, 'kept', 1_000)).toBe(7)
    await edge.database.exec('ALTER TABLE prices RENAME TO away')
    expect(await inputAt(prices, 'kept', 1_000 + keyStaleMaxMs)).toBe(7)
    await expect(inputAt(prices, 'kept', 3_000 + keyStaleMaxMs)).rejects.toMatchObject({ code: 'queue_unavailable' })
    await expect(inputAt(prices, 'unread', 1_000)).rejects.toMatchObject({ code: 'queue_unavailable', status: 503 })
    await edge.database.exec('ALTER TABLE away RENAME TO prices')
    expect(await inputAt(prices, 'kept', 5_000 + keyStaleMaxMs)).toBe(7)
  })
})
