/**
 * Prices of models: one row a model and moment, in force until the next one. None is ever changed: what was admitted
 * keeps its price, and a bill can be computed again.
 *
 * It bills nothing: admission takes the price that is in force.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import { modelIdBytesMax, priceMicroMax } from '../../contract/limits.ts'
import type { AppEnv } from '../app-env.ts'
import { askFleet } from '../broker/client.ts'
import type { Env } from '../env.ts'
import { changing } from './changing.ts'
import { listPage, pageParameters } from '../list-page.ts'
import { seconds } from './lookup.ts'
import { readQuery } from '../read-query.ts'

const microPerUsd = 1_000_000
const secondMs = 1_000
const percentMax = 1_000
/** 9999-12-31. */
const timeSecondsMax = 253_402_300_799

/** USD per million tokens, whole in µUSD. */
const priceField = z
  .number()
  .min(0)
  .max(priceMicroMax / microPerUsd)
  .refine((usd) => microOf(usd) / microPerUsd === usd, 'expected at most six decimals')
const percentField = z.int().min(0).max(percentMax)
const createFields = z.strictObject({
  model: z.string().min(1).max(modelIdBytesMax),
  input: priceField,
  cached_input: priceField,
  output: priceField,
  effective_from: z.int().min(0).max(timeSecondsMax).optional(),
  priority_percent: percentField.default(200),
  flex_percent: percentField.default(50),
  batch_percent: percentField.default(50),
})
const listParameters = z.strictObject({ ...pageParameters, model: z.string().optional() })

const priceRow = z.object({
  id: z.string(),
  model: z.string(),
  effectiveFromMs: z.number(),
  inputMicro: z.number(),
  cachedInputMicro: z.number(),
  outputMicro: z.number(),
  priorityPercent: z.number(),
  flexPercent: z.number(),
  batchPercent: z.number(),
})
type PriceRow = z.infer<typeof priceRow>
/** A model has one price a moment. */
const priceId = `model || '@' || effective_from_ms`

export const createPrice = changing(createFields, async ({ env }, fields, nowMs) => {
  const effectiveFromMs = startOf(fields.effective_from, nowMs)
  await requireId(env, fields.model)
  const row: PriceRow = {
    id: `${fields.model}@${effectiveFromMs}`,
    model: fields.model,
    effectiveFromMs,
    inputMicro: microOf(fields.input),
    cachedInputMicro: microOf(fields.cached_input),
    outputMicro: microOf(fields.output),
    priorityPercent: fields.priority_percent,
    flexPercent: fields.flex_percent,
    batchPercent: fields.batch_percent,
  }
  const { id: _id, ...columns } = row
  const statement = env.DB.prepare(
    `INSERT INTO prices (model, effective_from_ms, input_micro, cached_input_micro, output_micro, priority_percent,
       flex_percent, batch_percent)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  ).bind(...Object.values(columns))
  const event = { type: 'price.created', projectId: null, resourceId: row.id, details: { data: fields } } as const
  const refusal = new AppError('already_exists', 'This model has a price from that moment on. Choose a later one.')
  return { effects: [{ statement, event }], answer: priceObject(row), refusal }
})

/** Every price that was, is or will be in force; by model, oldest first. */
export async function listPrices(context: Context<AppEnv>): Promise<Response> {
  const { model, ...query } = readQuery(context.req.url, listParameters)
  const listing = {
    columns: `${priceId} AS id, model, effective_from_ms AS effectiveFromMs, input_micro AS inputMicro,
      cached_input_micro AS cachedInputMicro, output_micro AS outputMicro, priority_percent AS priorityPercent,
      flex_percent AS flexPercent, batch_percent AS batchPercent`,
    from: 'prices',
    where: model === undefined ? 'true' : 'model = ?',
    bindings: model === undefined ? [] : [model],
    order: ['model', 'effective_from_ms'],
    id: priceId,
  }
  return listPage(context.env.DB, listing, query, (row) => priceObject(priceRow.parse(row)))
}

/**
 * @throws AppError invalid_value for a moment that has passed: it could change no bill, only confuse whoever reads it.
 */
function startOf(second: number | undefined, nowMs: number): number {
  if (second === undefined) return nowMs
  if (second < Math.floor(nowMs / secondMs)) {
    const message = "Invalid value for 'effective_from': expected a moment to come, in Unix seconds."
    throw new AppError('invalid_value', message, { param: 'effective_from' })
  }
  return second * secondMs
}

/**
 * @throws AppError invalid_value for an alias: what is served has its price by its id, and an alias's would bill
 * nothing.
 */
async function requireId(env: Env, name: string): Promise<void> {
  const { model } = await askFleet(env)
  if (model === null || !model.aliases.includes(name)) return
  throw new AppError('invalid_value', `Invalid value for 'model': it is an alias, expected the id '${model.id}'.`, {
    param: 'model',
  })
}

function microOf(usd: number): number {
  return Math.round(usd * microPerUsd)
}

function priceObject(row: PriceRow) {
  return {
    id: row.id,
    object: 'organization.price',
    model: row.model,
    effective_from: seconds(row.effectiveFromMs),
    input: row.inputMicro / microPerUsd,
    cached_input: row.cachedInputMicro / microPerUsd,
    output: row.outputMicro / microPerUsd,
    priority_percent: row.priorityPercent,
    flex_percent: row.flexPercent,
    batch_percent: row.batchPercent,
  }
}
