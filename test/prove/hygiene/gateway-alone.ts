/**
 * The gateway between a D1 that fails and a worker that says what it is told: failures that a whole product cannot be
 * brought to. The same search as over the product, in the Worker's log, Redis and the answers.
 */
import assert from 'node:assert/strict'
import type { ErrorCode } from '../../../contract/errors.ts'
import { startDatabaseDoor } from '../../fixtures/database-door.ts'
import { testPepper } from '../../fixtures/edge.ts'
import { startRedis } from '../../fixtures/redis.ts'
import { startScriptedWorker, testModel } from '../../fixtures/scripted-worker.ts'
import { type Evidence, newCanary, search, secretOf } from './canaries.ts'
import { redisContents } from './evidence.ts'
import { Prober } from './prober.ts'
import { knock, type Target } from './provocations.ts'

const laneCount = 2
const workersErrors: readonly ErrorCode[] = ['model_error', 'internal_error', 'worker_failed', 'template_error']

/** @returns the error codes that were seen. */
export async function gatewayAlone(): Promise<ReadonlySet<string>> {
  const redis = await startRedis()
  const bootstrapSecret = newCanary('bootstrap secret')
  const edge = await startDatabaseDoor(redis.url, {
    laneCount,
    settings: { AXLE_BOOTSTRAP_SECRET: bootstrapSecret.text },
  })
  const worker = await startScriptedWorker(redis, laneCount)
  try {
    const prober = new Prober(edge.url)
    const { tenantKey, adminKey } = edge
    const target: Target = {
      prober,
      model: testModel.id,
      tenantKey,
      adminKey,
      bootstrapSecret: bootstrapSecret.text,
      secrets: [],
    }
    for (const code of workersErrors) {
      for (const stream of [false, true]) {
        const answer = prober.chat(tenantKey, testModel.id, { stream })
        const job = await worker.next()
        await job.start()
        await job.say('A')
        await job.end({ status: 'failed', finishReasons: [], error: { code, message: 'It failed.', param: null } })
        await answer
      }
    }
    await edge.setDatabase('silent')
    await knock(target)
    await edge.setDatabase('failing')
    await knock(target)
    const changing = { key: adminKey, headers: { 'idempotency-key': prober.freshIdempotencyKey() } }
    await prober.send('/v1/organization/projects', { ...changing, body: { name: prober.prompt.text } })
    await prober.send('/v1/organization/bootstrap', { key: bootstrapSecret.text, method: 'POST' })
    await prober.send('/v1/organization/audit_logs', { key: adminKey })
    const log: Evidence = { place: "the Worker's log", bytes: Buffer.from(edge.logs.join('\n')) }
    assert(log.bytes.length > 0, 'A gateway without D1 has something to log')
    const own = [
      { name: 'pepper', text: testPepper },
      secretOf('tenant key', tenantKey),
      secretOf('admin key', adminKey),
    ]
    const everything = [...own, bootstrapSecret, ...prober.canaries, ...target.secrets]
    const contents = await redisContents(worker.redis, () => true)
    const findings = search([log, ...contents, ...prober.refusals], everything)
    assert.deepEqual(findings, [], 'I9: nothing repeats a secret or the words of a tenant')
    console.log(`  the gateway alone: ${prober.refusals.length} answers, ${edge.logs.length} lines of its log: 0 hits`)
    return prober.codes
  } finally {
    await edge.stop()
    await worker.stop()
    await redis.stop()
  }
}
