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
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { z } from 'zod'
import { AdminApi } from '../../cli/admin-api.ts'
import { bill, type Bill } from '../../cli/usage/bill.ts'
import { keys } from '../../contract/keys.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { type FaultStage, openFaultStage } from '../fixtures/fault-stage.ts'
import type { Told } from './reconciliation-clients.ts'
import { openTenants, storm, stormSizes } from './reconciliation-storm.ts'

export interface ReconciliationOptions {
  readonly full: boolean
  readonly seed?: number
}

const root = join(import.meta.dirname, '..', '..')
const closedDeadlineMs = 60_000
const pollMs = 50
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
  const size = full ? stormSizes.full : stormSizes.reduced
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
