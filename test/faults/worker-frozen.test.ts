/** A worker frozen past its lock, taken over, and thawed: a zombie that believes the job is still its own. */
import { afterEach, describe, expect, it } from 'vitest'
import type { FakeWorkerOrders } from '../fixtures/fake-gpu-worker.ts'
import { fakeAnswer, type FaultStage, openFaultStage, withoutProtection } from '../fixtures/fault-stage.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const answerTokens = 120
let stage: FaultStage

afterEach(() => stage.close())

async function freezeAndThaw(orders: Partial<FakeWorkerOrders> = {}) {
  stage = await openFaultStage()
  const { desk, startWorker } = stage
  const zombie = await startWorker(orders)
  const jobId = await desk.ask({ request: { maxTokens: answerTokens } })
  await desk.tokens(jobId, 20)
  await startWorker(orders)
  zombie.kill('SIGSTOP')
  await desk.heard(jobId, ({ entry }) => entry.kind === 'start' && entry.epoch === 2)
  const takenOverAt = desk.live(jobId).length
  await desk.heard(jobId, ({ sequence, entry }) => sequence > takenOverAt + 3 && entry.kind === 'token')
  zombie.kill('SIGCONT')
  await desk.end(jobId)
  const refusals = () => zombie.log.filter(({ msg }) => msg === 'append refused').map(({ code }) => code)
  return { zombie, refusals, history: await readHistory(desk.redis, jobId, desk.live(jobId)) }
}

const epochChecks = [
  ['append', `record[1] ~= 'running' or record[2] ~= ARGV[2]`, `record[1] ~= 'running'`],
  ['finish', `if record[2] ~= ARGV[2] then return 'fenced' end`, ''],
] as const
const positionChecks = [
  [
    'append',
    'local sequence, stored = tonumber(ARGV[3]), tonumber(record[3])',
    'local stored = tonumber(record[3]) local sequence = stored + 1',
  ],
  ['append', `~= tonumber(ARGV[6]) then`, `~= tonumber(ARGV[6]) and false then`],
  ['append', `redis.call('XADD', KEYS[2], ARGV[3] .. '-0'`, `redis.call('XADD', KEYS[2], sequence .. '-0'`],
] as const

describe('a worker frozen past its lock and thawed', () => {
  it('is fenced at its next append: the answer is one, whole, and billed once', async () => {
    const { refusals, history } = await freezeAndThaw()
    expect(checkHistory(history).tokenIds).toEqual(fakeAnswer(7n, answerTokens))
    await expect.poll(refusals).toEqual(['fenced'])
  }, 30_000)

  it('is not fenced without the epoch check (negative control)', async () => {
    const { refusals } = await freezeAndThaw({ scriptSources: withoutProtection(epochChecks) })
    // The log still refuses it by position, as a bug: the second wall holds where the first is gone.
    await expect.poll(refusals).toEqual(['conflict'])
  }, 30_000)

  it('says tokens twice when the log checks neither epoch nor position (negative control)', async () => {
    const story = await freezeAndThaw({ scriptSources: withoutProtection([...epochChecks, ...positionChecks]) })
    expect(() => checkHistory(story.history)).toThrow(/I1|I2|I3/)
  }, 30_000)
})
