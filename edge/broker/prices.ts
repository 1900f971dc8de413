/**
 * What a token of a model costs now, from D1, through a small cache.
 *
 * With D1 away the last prices known go on for an hour, as known keys do. It knows no tenant and counts nothing.
 */
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import { keyStaleMaxMs, priceMicroMax } from '../../contract/limits.ts'
import { freePrice, type TokenPrice } from '../../contract/money.ts'
import type { ServiceTier } from '../../contract/quota.ts'
import { answerOf, lookupDeadlineMs } from '../d1/answer.ts'
import { logError } from '../log.ts'

/** A changed price is in force after this long at the latest; a future one, known in advance, on time. */
const freshMs = 60_000
/**
 * After a failure D1 is not asked again for this long: a D1 that hangs must not make requests wait for their prices.
 */
const failureMs = 10_000
/** One model a deployment; the bound is against a table of somebody's mistakes. */
const pricesMax = 1_000

/** In force, and those to come: oldest first. */
const query = `SELECT effective_from_ms AS effectiveFromMs, input_micro AS inputMicro,
    cached_input_micro AS cachedInputMicro, output_micro AS outputMicro, priority_percent AS priorityPercent,
    flex_percent AS flexPercent, batch_percent AS batchPercent
  FROM prices
  WHERE model = ?1 AND effective_from_ms >= coalesce(
    (SELECT max(effective_from_ms) FROM prices WHERE model = ?1 AND effective_from_ms <= ?2), 0)
  ORDER BY effective_from_ms LIMIT ${pricesMax}`

const micro = z.int().min(0).max(priceMicroMax)
const percent = z.int().min(0)
const priceRow = z.object({
  effectiveFromMs: z.int(),
  inputMicro: micro,
  cachedInputMicro: micro,
  outputMicro: micro,
  priorityPercent: percent,
  flexPercent: percent,
  batchPercent: percent,
})
export type PriceRow = z.infer<typeof priceRow>

interface Known {
  readonly rows: readonly PriceRow[]
  readonly readAtMs: number
  /** D1 is not asked before. */
  readonly untilMs: number
}

/** By model; one memory for all Brokers of an isolate, so that an outage finds as much known as can be. */
const memory = new Map<string, Known>()

export class Prices {
  /** Of one Durable Object: another one must not wait for its promises. */
  readonly #reading = new Map<string, Promise<readonly PriceRow[]>>()

  /**
   * Prices of `model` at `nowMs` in `tier`; free where none was ever set.
   * @throws AppError queue_unavailable when D1 is away and nothing, or nothing recent, is known.
   */
  async of(db: D1Database, model: string, tier: ServiceTier, nowMs: number): Promise<TokenPrice> {
    const known = memory.get(model)
    if (known !== undefined && nowMs < known.untilMs) return priceAt(known.rows, tier, nowMs)
    try {
      return priceAt(await this.#read(db, model, nowMs), tier, nowMs)
    } catch (cause) {
      logError('prices-unreadable', cause)
      if (known === undefined || nowMs - known.readAtMs > keyStaleMaxMs) throw unknownPrice(cause)
      memory.set(model, { ...known, untilMs: Math.min(nowMs + failureMs, known.readAtMs + keyStaleMaxMs + 1) })
      return priceAt(known.rows, tier, nowMs)
    }
  }

  #read(db: D1Database, model: string, nowMs: number): Promise<readonly PriceRow[]> {
    const under = this.#reading.get(model)
    if (under !== undefined) return under
    const reading = readPrices(db, model, nowMs)
      .then((rows) => {
        memory.set(model, { rows, readAtMs: nowMs, untilMs: nowMs + freshMs })
        return rows
      })
      .finally(() => this.#reading.delete(model))
    this.#reading.set(model, reading)
    return reading
  }
}

/** @param rows oldest first. */
export function priceAt(rows: readonly PriceRow[], tier: ServiceTier, nowMs: number): TokenPrice {
  const row = rows.findLast((candidate) => candidate.effectiveFromMs <= nowMs)
  if (row === undefined) return freePrice
  const factor = percentOf(row, tier)
  const scaled = (priceMicro: number) => Math.min(Math.floor((priceMicro * factor) / 100), priceMicroMax)
  return {
    inputMicro: scaled(row.inputMicro),
    cachedInputMicro: scaled(row.cachedInputMicro),
    outputMicro: scaled(row.outputMicro),
  }
}

function percentOf(row: PriceRow, tier: ServiceTier): number {
  switch (tier) {
    case 'priority':
      return row.priorityPercent
    case 'default':
      return 100
    case 'flex':
      return row.flexPercent
    case 'batch':
      return row.batchPercent
    default:
      return tier satisfies never
  }
}

async function readPrices(db: D1Database, model: string, nowMs: number): Promise<readonly PriceRow[]> {
  const { results } = await answerOf(db.prepare(query).bind(model, nowMs).all(), lookupDeadlineMs)
  return z.array(priceRow).parse(results)
}

function unknownPrice(cause: unknown): AppError {
  return new AppError('queue_unavailable', 'Prices cannot be read right now. Try again shortly.', {
    cause,
    retryAfterMs: 1_000,
  })
}
