/**
 * `npm run prove -- reconciliation`: 10,000 requests of every kind through the gateway while GPU workers are killed,
 * clients leave and send again, and the drain is cut off between its insert and its acknowledgement. Then the books must
 * agree to the token: what clients were told, token logs, bills, sums by the minute, counters; and a bill of one token too
 * much must be found, or it proves nothing.
 *
 * Workers run the fake Runner: tokens are counted here, not judged. Seeded: who asks what; when faults strike is the
 * machine's.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { z } from 'zod'
import { AdminApi } from '../../cli/admin-api.ts'
import { bill, type Bill } from '../../cli/usage/bill.ts'
import { newKey, parseKey } from '../../contract/key-format.ts'
import { keys } from '../../contract/keys.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { dice, type Dice } from '../fixtures/dice.ts'
import { startTestEdge, testPepper, type TestEdge } from '../fixtures/edge.ts'
import { type FaultStage, openFaultStage, type WorkerProcess } from '../fixtures/fault-stage.ts'
import { Client, type ClientKind, clientKinds, type Tenant, type Told } from './reconciliation-clients.ts'

export interface ReconciliationOptions {
  readonly full: boolean
  readonly seed?: number
}

const model = 'axk1-tiny'
const root = join(import.meta.dirname, '..', '..')
const sizes = {
  full: { requests: 10_000, atOnce: 48, killEveryMs: [2_000, 5_000] },
  reduced: { requests: 300, atOnce: 24, killEveryMs: [600, 1_500] },
} as const
const workerCount = 2
const stepMs = 2
const drainEveryMs = 1_000
const closedDeadlineMs = 60_000
const pollMs = 50
/** Prices that leave fractions of a nano-dollar: µUSD a million tokens. */
const prices = [37_501, 9_377, 150_003] as const
/** Of each client kind, in hundredths. */
const shares: Readonly<Record<ClientKind, number>> = {
  stream: 30,
  whole: 25,
  'leaves-stream': 10,
  'leaves-whole': 8,
  'twice-at-once': 10,
  'again-after': 8,
  'answer-lost': 7,
  'too-long': 2,
}

const verdict = z.object({
  billsInD1: z.int(),
  billsUndrained: z.int(),
  logs: z.int(),
  minutes: z.int(),
  counters: z.int(),
  tokens: z.int(),
  costNano: z.int(),
  differenceTokens: z.int(),
  findings: z.array(z.unknown()),
})
type Verdict = z.infer<typeof verdict>

export async function reconciliation({ full, seed = 1 }: ReconciliationOptions): Promise<void> {
  const size = full ? sizes.full : sizes.reduced
  const stage = await openFaultStage()
  const edge = await startTestEdge(stage.server.url, { laneCount: 1, shardCount: 2 })
  try {
    const tenants = await openTenants(edge)
    const told = await storm(stage, edge, tenants, size, seed)
    await untilClosed(stage)
    // What the cron has not moved yet must add up as well as what it has.
    const before = await reconcileByCommand(stage, edge)
    assert.deepEqual(before.findings, [], 'The books agree while rows wait to be drained')
    await cutDrain(stage, edge)
    await Promise.all([edge.scheduled(), edge.scheduled()])
    assert.equal(await stage.desk.redis.xlen(keys.usage), 0, 'Everything is drained')

    const found = await reconcileByCommand(stage, edge)
    assert.deepEqual(found.findings, [], 'The books agree')
    assert.equal(found.differenceTokens, 0)
    assert.equal(found.counters, tenants.length, 'The spend of every tenant was compared')
    assert.equal(found.logs, found.billsInD1, 'Every bill has its log, every log its bill')
    const bills = await readBills(edge)
    compareTold(told, bills)
    report(found, bills, told)
    await assertTamperingIsFound(stage, edge)
  } finally {
    await edge.stop()
    await stage.close()
  }
}

/** Three tenants, the first with two keys, all with a budget that they do not reach: so their spend is counted. */
async function openTenants({ database }: TestEdge): Promise<Tenant[]> {
  const tenants = [2, 1, 1].map((keyCount, index) => ({
    id: `proj_${index}`,
    keys: Array.from({ length: keyCount }, () => newKey('live', randomBytes)),
  }))
  await database.batch([
    database.prepare(
      `INSERT INTO prices (model, effective_from_ms, input_micro, cached_input_micro, output_micro)
       VALUES ('${model}', 0, ${prices.join(', ')})`,
    ),
    ...tenants.map(({ id }) =>
      database.prepare(
        `INSERT INTO tenants (id, name, created_at_ms, requests_per_minute, tokens_per_minute, concurrent_requests_max,
           monthly_budget_nano, tiers)
         VALUES ('${id}', '${id}', 0, 1000000, 1000000000, 1000, 1000000000000, '["priority","default","flex"]')`,
      ),
    ),
    ...tenants.flatMap(({ id, keys: all }) =>
      all.map((key) =>
        database
          .prepare(
            `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms)
             VALUES (?, ?, 'live', 'test', ?, 'p1', '["inference"]', 0)`,
          )
          .bind(parseKey(key)?.id, id, keyDigest(key, testPepper)),
      ),
    ),
  ])
  return tenants
}

/** All requests, a bounded number at once, while workers die and the drain runs. */
async function storm(
  stage: FaultStage,
  edge: TestEdge,
  tenants: readonly Tenant[],
  { requests, atOnce, killEveryMs }: (typeof sizes)[keyof typeof sizes],
  seed: number,
): Promise<Told[][]> {
  const orders = { stepMs }
  const workers: WorkerProcess[] = []
  for (let count = 0; count < workerCount; count++) workers.push(await stage.startWorker(orders))
  const over = new AbortController()
  let killCount = 0
  const kill = async (): Promise<void> => {
    const draw = dice(seed)
    for (;;) {
      await pause(draw(killEveryMs[0], killEveryMs[1]), over.signal)
      if (over.signal.aborted) return
      for (const worker of workers.splice(draw(0, workers.length - 1), 1)) worker.kill('SIGKILL')
      killCount += 1
      workers.push(await stage.startWorker(orders))
    }
  }
  const drain = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await edge.scheduled()
      await pause(drainEveryMs, over.signal)
    }
  }
  const told: Told[][] = []
  let next = 0
  const send = async (): Promise<void> => {
    while (next < requests && !over.signal.aborted) {
      const number = next++
      told.push(await ask(edge, tenants, number, dice(seed * 1_000_003 + number)))
      if (told.length % 1_000 === 0) console.log(`  ${told.length} requests, ${killCount} workers killed`)
    }
  }
  const startedMs = performance.now()
  const sending = Promise.all(Array.from({ length: atOnce }, send)).finally(() => over.abort())
  const all = [sending, kill(), drain()]
  try {
    await Promise.all(all)
  } finally {
    over.abort()
    await Promise.allSettled(all)
  }
  assert(killCount > 0, 'A worker was killed')
  const seconds = (performance.now() - startedMs) / 1_000
  console.log(`  ${requests} requests in ${seconds.toFixed(1)} s, ${killCount} workers killed in between`)
  // Nobody drains any more: of this one the row waits.
  told.push(await new Client(edge.url, model, tenants, requests, dice(seed)).ask('whole', requests))
  return told
}

function ask(edge: TestEdge, tenants: readonly Tenant[], number: number, draw: Dice): Promise<Told[]> {
  return new Client(edge.url, model, tenants, number, draw).ask(kindOf(draw), number)
}

function kindOf(draw: Dice): ClientKind {
  let hundredth = draw(1, 100)
  for (const kind of clientKinds) {
    hundredth -= shares[kind]
    if (hundredth <= 0) return kind
  }
  throw new RangeError('The shares add up to a hundred')
}

async function untilClosed({ desk }: FaultStage): Promise<void> {
  const endsAtMs = performance.now() + closedDeadlineMs
  for (;;) {
    const open = await desk.redis.zcard(keys.open)
    if (open === 0) return
    assert(performance.now() < endsAtMs, `${open} jobs are still open`)
    await delay(pollMs)
  }
}

/** Redis takes no acknowledgement: the insert stands in D1, and the rows stay in the stream. */
async function cutDrain({ desk }: FaultStage, edge: TestEdge): Promise<void> {
  const waiting = await desk.redis.xlen(keys.usage)
  assert(waiting > 0, 'Something waits to be drained')
  const jobCount = async () => (await edge.database.prepare('SELECT job_id FROM usage_jobs').all()).results.length
  const billed = await jobCount()
  await desk.redis.acl('SETUSER', 'default', '-xdel')
  await assert.rejects(edge.scheduled(), 'A drain without its acknowledgement fails')
  await desk.redis.acl('SETUSER', 'default', '+xdel')
  assert.equal(await desk.redis.xlen(keys.usage), waiting, 'No row left the stream')
  assert((await jobCount()) > billed, 'The insert stands')
}

/** The command as an operator runs it. Its exit code says what its findings say. */
async function reconcileByCommand(stage: FaultStage, edge: TestEdge): Promise<Verdict> {
  const env = { ...process.env, AXLE_URL: edge.url, AXLE_ADMIN_KEY: edge.adminKey, REDIS_URL: stage.server.url }
  const args = [join(root, 'cli/main.ts'), 'usage', 'reconcile', '--json']
  const run = promisify(execFile)(process.execPath, args, { env, maxBuffer: 2 ** 26 })
  const { stdout, code } = await run.then(
    (done) => ({ ...done, code: 0 }),
    (failure: unknown) => z.object({ stdout: z.string(), code: z.int() }).parse(failure),
  )
  const found = verdict.parse(JSON.parse(stdout))
  assert.equal(code, found.findings.length > 0 ? 1 : 0)
  return found
}

function readBills(edge: TestEdge): Promise<Bill[]> {
  const api = new AdminApi({ url: edge.url, key: edge.adminKey })
  return api.list('/v1/organization/usage/jobs', bill, { start_time: 0 })
}

/** What clients were told is what they are billed, and what was sent again is billed once. */
function compareTold(told: readonly Told[][], bills: readonly Bill[]): void {
  const billOf = new Map(bills.map((each) => [each.job_id, each]))
  const known = new Set<string>()
  for (const answers of told) {
    const ids = new Set(answers.flatMap(({ jobId }) => jobId ?? []))
    assert(ids.size <= 1, 'One Idempotency-Key is one job')
    for (const { jobId, usage } of answers) {
      if (jobId === null) continue
      const billed = billOf.get(jobId)
      assert(billed !== undefined, `Job ${jobId} has a bill`)
      known.add(jobId)
      if (usage === null) continue
      assert.deepEqual(
        [billed.input_tokens, billed.input_cached_tokens, billed.output_tokens, billed.output_reasoning_tokens],
        [
          usage.prompt_tokens,
          usage.prompt_tokens_details.cached_tokens,
          usage.completion_tokens,
          usage.completion_tokens_details.reasoning_tokens,
        ],
        `Job ${jobId} is billed what its client was told`,
      )
    }
  }
  assert(bills.length <= told.length, 'No request has two bills')
  assert(known.size > told.length / 2, 'Most clients learned who answered')
}

function report(found: Verdict, bills: readonly Bill[], told: readonly Told[][]): void {
  const ends: Record<string, number> = {}
  for (const { status } of bills) ends[status] = (ends[status] ?? 0) + 1
  for (const status of ['completed', 'incomplete', 'cancelled', 'failed']) {
    assert((ends[status] ?? 0) > 0, `Some jobs ended ${status}`)
  }
  assert(bills.some((each) => each.input_cached_tokens > 0) && bills.some((each) => each.output_reasoning_tokens > 0))
  const stayed = told.flat().filter(({ usage }) => usage !== null).length
  console.log(
    `  ${found.logs} logs, ${found.billsInD1} bills, ${found.minutes} sums by the minute, ${found.tokens} tokens, ` +
      `${found.costNano} nano-USD; ${stayed} answers told their usage; ends: ${JSON.stringify(ends)}`,
  )
  console.log(`  difference ${found.differenceTokens} tokens, ${found.findings.length} findings`)
}

/** The negative control: one token on one bill. */
async function assertTamperingIsFound(stage: FaultStage, edge: TestEdge): Promise<void> {
  await edge.database.exec('DROP TRIGGER usage_jobs_fixed')
  const one = 'WHERE job_id = (SELECT max(job_id) FROM usage_jobs)'
  await edge.database.exec(`UPDATE usage_jobs SET output_tokens = output_tokens + 1 ${one}`)
  const { differenceTokens, findings } = await reconcileByCommand(stage, edge)
  // Once against its log, once against its minute.
  assert.equal(differenceTokens, 2, 'One token too much is found')
  assert.equal(findings.length, 2)
  console.log('  negative control: one token added to one bill by hand is found')
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error
  })
}
