/** A client that left: whoever notices asks for the job's end, and the engine drops the sequence. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { decodeHeartbeat } from '../../contract/heartbeat.ts'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { type FaultStage, openFaultStage, withoutProtection } from '../fixtures/fault-stage.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const dropDeadlineMs = 3_000
const stepMs = 50
let stage: FaultStage

afterEach(() => stage.close())

async function running(orders = {}): Promise<JobId> {
  stage = await openFaultStage()
  await stage.startWorker({ stepMs, ...orders })
  const jobId = await stage.desk.ask({ request: { maxTokens: 1_000 } })
  await stage.desk.tokens(jobId, 5)
  return jobId
}

/** The flag without the message, as when the worker's subscription was down. */
function flagOnly(jobId: JobId): Promise<number> {
  return stage.desk.redis.hset(keys.job(jobId), 'cancel', '1')
}

async function runningCount(): Promise<number> {
  return decodeHeartbeat((await stage.desk.redis.get(keys.worker('w1'))) ?? '').running
}

describe('a sequence whose client left', () => {
  it('is dropped within a step of the cancel, and billed for what was made', async () => {
    const jobId = await running()
    const { desk } = stage
    expect(await desk.scripts.cancel(jobId)).toBe('cancelling')
    const saidBefore = desk.live(jobId).length
    await desk.end(jobId, dropDeadlineMs)
    // The step that may have ended meanwhile, the step under way, and the end.
    expect(desk.live(jobId).length - saidBefore).toBeLessThanOrEqual(3)
    const { end } = checkHistory(await readHistory(desk.redis, jobId, desk.live(jobId)))
    expect(end).toMatchObject({ status: 'cancelled', finishReasons: [], error: null })
    await expect.poll(runningCount, { timeout: dropDeadlineMs }).toBe(0)
  }, 20_000)

  it('is dropped as well when the message was lost: every append reads the flag', async () => {
    const jobId = await running()
    await flagOnly(jobId)
    await stage.desk.end(jobId, dropDeadlineMs)
    expect(await stage.desk.redis.hget(keys.job(jobId), 'status')).toBe('cancelled')
  }, 20_000)

  it('runs on when the message was lost and no append reads the flag (negative control)', async () => {
    const flagIsRead = 'local cancel = tonumber(record[5])'
    const jobId = await running({ scriptSources: withoutProtection([['append', flagIsRead, 'local cancel = 0']]) })
    await flagOnly(jobId)
    await delay(dropDeadlineMs)
    expect(await stage.desk.redis.hget(keys.job(jobId), 'status')).toBe('running')
    expect(await runningCount()).toBe(1)
  }, 20_000)
})
