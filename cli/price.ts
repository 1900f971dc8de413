/**
 * `axle price`: what a model's tokens cost. A price holds from its moment on for what is admitted then; what was
 * admitted before is billed as it was. It knows no tenant.
 */
import type { z } from 'zod'
import { priceAnswer } from './admin/answers.ts'
import { type Call, runAction } from './admin/command.ts'
import { table } from './admin/table.ts'
import { count, decimal, fieldsOf, moment } from './admin/values.ts'

const help = `npm run --silent axle -- price list
npm run --silent axle -- price set MODEL --input USD --output USD [--cached USD] [options]

Prices are US dollars for a million tokens, at most six decimals: --input 0.25 --cached 0.05 --output 1.10

  --cached USD             of prompt tokens found in the cache (as --input)
  --from TIME              when it comes into force, as 2026-12-01 or 2026-12-01T00:00:00Z (now)
  --priority-percent N     what service tier priority costs of it (200)
  --flex-percent N         flex (50)
  --batch-percent N        batch (50)
  --json                   the API's answer as it is

MODEL is the id in /v1/models, no alias. A model without a price is free. A price is never changed: the next one
replaces it from its moment on, and the list keeps both.

The deployment is AXLE_URL with AXLE_ADMIN_KEY, or the one that runs from AXLE_DATA_DIR (.axle).`

const path = '/v1/organization/prices'
const fields = {
  input: ['input', decimal],
  cached: ['cached_input', decimal],
  output: ['output', decimal],
  from: ['effective_from', startOf],
  'priority-percent': ['priority_percent', count],
  'flex-percent': ['flex_percent', count],
  'batch-percent': ['batch_percent', count],
} as const

export function price(args: string[]): Promise<void> {
  return runAction(args, help, {
    list: { operands: [], run: list },
    set: { operands: ['MODEL'], options: Object.keys(fields), run: set },
  })
}

async function list(call: Call): Promise<void> {
  const prices = await call.api.list(path, priceAnswer)
  call.tell(prices, tableOf(prices))
}

async function set(call: Call): Promise<void> {
  for (const option of ['input', 'output']) {
    if (call.option(option) === undefined)
      throw new TypeError(`set: expected --${option}, US dollars for a million tokens`)
  }
  const given = fieldsOf(call, fields)
  const body = { model: call.operand(0), cached_input: given['input'], ...given }
  const made = await call.api.post(path, priceAnswer, body)
  call.tell(made, tableOf([made]))
}

function tableOf(prices: readonly z.infer<typeof priceAnswer>[]): string {
  const header = ['MODEL', 'FROM', 'INPUT', 'CACHED', 'OUTPUT', 'PRIORITY', 'FLEX', 'BATCH']
  const rows = prices.map((item) => [
    item.model,
    moment(item.effective_from),
    ...[item.input, item.cached_input, item.output].map((amount) => `$${amount}`),
    ...[item.priority_percent, item.flex_percent, item.batch_percent].map((percent) => `${percent}%`),
  ])
  return table(header, rows, 'No prices yet: every model is free.')
}

/** Unix seconds. */
function startOf(value: string, option: string): number {
  const atMs = /^\d{4}-\d\d-\d\d(T[\d:]+Z)?$/.test(value) ? Date.parse(value) : Number.NaN
  if (Number.isNaN(atMs))
    throw new TypeError(`${option}: expected a moment such as 2026-12-01T00:00:00Z, got '${value}'`)
  return Math.floor(atMs / 1_000)
}
