/**
 * A GPU lost in mid-answer: its worker, with the real model, ends for its supervisor, and the answer goes on elsewhere.
 *
 * How soon is shown where workers are killed: once the process is gone, its jobs do not know why.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, it } from 'vitest'
import { decodeHeartbeat } from '../../contract/heartbeat.ts'
import { keys } from '../../contract/keys.ts'
import { parseLifecycleMessage } from '../../contract/lifecycle.ts'
import { lockMs } from '../../contract/limits.ts'
import { type FaultStage, openFaultStage } from '../fixtures/fault-stage.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'

const readyDeadlineMs = 60_000
const request = { maxTokens: 40, temperature: 0 }
let stage: FaultStage
const children: ChildProcess[] = []

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  await stage.close()
})

/** Serves when it resolves. */
async function startRealWorker(workerId: string, environment: NodeJS.ProcessEnv = {}): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--import', './test/fixtures/breaking-gpu.ts', 'gpu-worker/main.ts'], {
    env: {
      ...process.env,
      REDIS_URL: stage.server.url,
      AXLE_MODEL: 'models/axk1-tiny',
      AXLE_WORKER_ID: workerId,
      AXLE_LANES: '1',
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  children.push(child)
  const signal = AbortSignal.timeout(readyDeadlineMs)
  for (let kind: string | undefined; kind !== 'ready';) {
    const [message] = await once(child, 'message', { signal })
    kind = parseLifecycleMessage(message)?.kind
    if (kind === 'fatal') throw new Error(`A worker did not start: ${JSON.stringify(message)}`)
  }
  return child
}

async function armed(child: ChildProcess): Promise<void> {
  const answer = once(child, 'message', { signal: AbortSignal.timeout(readyDeadlineMs) })
  child.send('break')
  expect(await answer).toContain('armed')
}

it('ends the process with 1 and says why; the next worker finishes the answer that it would have given', async () => {
  stage = await openFaultStage()
  const { desk } = stage
  const first = await startRealWorker('first')
  await armed(first)
  const said: unknown[] = []
  first.on('message', (message) => said.push(message))
  const exited = once(first, 'exit')
  const jobId = await desk.ask({ request })
  expect(await exited).toEqual([1, null])
  expect(said.at(-1)).toMatchObject({ kind: 'fatal', message: expect.stringContaining('lost') })
  await startRealWorker('second')
  await desk.end(jobId, readyDeadlineMs)
  const history = await readHistory(desk.redis, jobId, desk.live(jobId))
  expect(history.record['epoch'], 'taken over in the middle').toBe('2')
  const { tokenIds } = checkHistory(history)

  const peaceful = await desk.ask({ request })
  await desk.end(peaceful)
  const inPeace = checkHistory(await readHistory(desk.redis, peaceful, desk.live(peaceful)))
  expect(tokenIds).toEqual(inPeace.tokenIds)
  expect(tokenIds.length).toBeGreaterThan(8)
}, 120_000)

it('holds its jobs for as long as nobody is told of the loss (negative control)', async () => {
  stage = await openFaultStage()
  const { desk } = stage
  const deaf = await startRealWorker('deaf', { UNNOTICED: '1' })
  await armed(deaf)
  const jobId = await desk.ask({ request })
  await desk.tokens(jobId, 1)
  const askedAtMs = Date.now()
  await startRealWorker('second')
  // Past the lock's time the other worker would have it, were it not renewed.
  await expect
    .poll(async () => (await lastBeatMs('deaf')) - askedAtMs, { timeout: 30_000, interval: 200 })
    .toBeGreaterThan(2 * lockMs)
  expect(deaf.exitCode).toBeNull()
  expect(desk.live(jobId).some(({ entry }) => entry.kind === 'end')).toBe(false)
}, 120_000)

async function lastBeatMs(workerId: string): Promise<number> {
  const text = await stage.desk.redis.get(keys.worker(workerId))
  return text === null ? 0 : (decodeHeartbeat(text)?.sentAtMs ?? 0)
}
