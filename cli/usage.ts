/**
 * `axle usage`: what was used and what it cost; `axle usage reconcile`: the proof that it is what the token logs hold.
 *
 * The second alone needs Redis, since the logs are there.
 */
import { Redis } from 'ioredis'
import { monthBounds, monthOf } from '../contract/month.ts'
import { readReadyFile } from './admin-api.ts'
import { type Call, runAction } from './admin/command.ts'
import { checkTenant } from './admin/tenant-option.ts'
import { since } from './admin/values.ts'
import { keptJobs, readCellBooks } from './usage/cell-books.ts'
import { readLedger } from './usage/ledger.ts'
import { reconcile } from './usage/reconcile.ts'
import { report } from './usage/report.ts'
import { verdictOf } from './usage/verdict.ts'

const help = `npm run --silent axle -- usage [--tenant TENANT] [--from TIME] [--to TIME] [--by minute|hour|day]
                                [--group project,key,model,mode,tier] [--json|--csv]
npm run --silent axle -- usage --costs [--tenant TENANT] [--from TIME] [--to TIME] [--group project,key,item]
npm run --silent axle -- usage reconcile [--tenant TENANT] [--from TIME] [--redis URL]

Usage arrives within a minute of a request's end. Whole days, hours or minutes of UTC are told.

  --tenant TENANT   of this tenant only
  --from TIME       24h ago, or from 2026-11-24 or 2026-11-24T10:00:00Z on (the first of the month)
  --to TIME         up to then (now)
  --by WIDTH        minute, hour or day (day)
  --group LIST      a line for each tenant (project), key, model, mode, tier; of costs each line item (item)
  --costs           US dollars instead of tokens
  --json, --csv     the API's answers

reconcile compares every bill with the token log it is for, token by token, while that is kept (an hour; a day for requests
with an Idempotency-Key); the sums by the minute with the bills; and what Redis says was spent this month with both.
It changes nothing. Exit code 0 when all agree, 1 when not, with each difference.

  --redis URL       the deployment's Redis, unless REDIS_URL names it or it runs here

The deployment is AXLE_URL with AXLE_ADMIN_KEY, or the one that runs from AXLE_DATA_DIR (.axle).`

const connectTimeoutMs = 5_000

/** Without an action it reports. */
export function usage(args: string[]): Promise<void> {
  const isOption = args[0]?.startsWith('--') === true && args[0] !== '--help'
  const given = args.length === 0 || isOption ? ['report', ...args] : args
  return runAction(given, help, {
    report: {
      operands: [],
      options: ['tenant', 'from', 'to', 'by', 'group'],
      flags: ['costs', 'csv'],
      run: report,
    },
    reconcile: { operands: [], options: ['tenant', 'from', 'redis'], run: compare },
  })
}

/** Sets exit code 1 unless everything agrees. */
async function compare(call: Call): Promise<void> {
  const redis = new Redis(redisUrlOf(call), {
    lazyConnect: true,
    connectTimeout: connectTimeoutMs,
    maxRetriesPerRequest: 1,
    retryStrategy: () => null,
  })
  // Told by the command that waits; without a listener ioredis would print it, address and all.
  redis.on('error', () => undefined)
  try {
    await connect(redis)
    const cell = await readCellBooks(redis)
    const from = call.option('from')
    const start = from === undefined ? monthBounds(monthOf(cell.atMs)).fromMs / 1_000 : since(from, '--from', cell.atMs)
    const tenant = call.option('tenant') ?? null
    // Whole minutes; clocks may differ by some.
    const range = { start: Math.floor(start / 60) * 60, end: Math.ceil(cell.atMs / 60_000) * 60 + 3_600, tenant }
    const ledger = await readLedger(call.api, range)
    const found = await reconcile({ ledger, cell, jobs: keptJobs(redis), fromMs: range.start * 1_000, tenant })
    if (found.billsInD1 + found.billsUndrained + found.logs + found.findings.length === 0) await checkTenant(call)
    call.tell(found, verdictOf(found))
    if (found.findings.length > 0) process.exitCode = 1
  } finally {
    redis.disconnect()
  }
}

/** ioredis says only that its connection is closed. */
async function connect(redis: Redis): Promise<void> {
  try {
    await redis.connect()
  } catch (error) {
    throw new Error('Redis does not answer: --redis, or REDIS_URL, is the one that the deployment uses', {
      cause: error,
    })
  }
}

function redisUrlOf(call: Call): string {
  const given = call.option('redis') ?? process.env['REDIS_URL']
  if (given !== undefined && given !== '') return given
  return readReadyFile(process.env).redisUrl
}
