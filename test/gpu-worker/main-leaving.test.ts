/** The GPU worker's process on its way out, the real model under load: signals decide how patient it is. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { decodeHeartbeat } from '../../contract/heartbeat.ts'
import type { JobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { runToEnd } from '../fixtures/child-process.ts'
import { JobDesk } from '../fixtures/job-desk.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const seeds = [1n, 2n, 3n, 4n]
const timeoutMs = 120_000
let server: TestRedis
let desk: JobDesk

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())
beforeEach(async () => {
  await server.connect().flushall()
  desk = await JobDesk.open(server)
})

describe('a GPU worker that is told to leave', { timeout: timeoutMs }, () => {
  it('SIGTERM: its answers come to their ends, then it exits 0; at ready it told its chunk', async () => {
    const { jobs, exitCode, chunk } = await leaving(200, (kill) => kill('SIGTERM'))
    expect(exitCode).toBe(0)
    expect(jobs.map(hasEnded)).toEqual(seeds.map(() => true))
    expect(jobs.map(startCount)).toEqual(seeds.map(() => 1))
    expect(chunk).toMatch(/^\d+ rows in \d+ of 200 ms$/)
  })

  it('a second SIGTERM: it exits 0 at once, and what has not ended is back in its lane', async () => {
    const { jobs, exitCode } = await leaving(1_500, async (kill) => {
      kill('SIGTERM')
      await expect.poll(isReady).toBe(false)
      kill('SIGTERM')
    })
    expect(exitCode).toBe(0)
    await expectHandedBack(jobs)
  })

  it('SIGINT: the same, the first time', async () => {
    const { jobs, exitCode } = await leaving(1_500, (kill) => kill('SIGINT'))
    expect(exitCode).toBe(0)
    await expectHandedBack(jobs)
  })
})

async function expectHandedBack(jobs: readonly JobId[]): Promise<void> {
  const open = jobs.filter((jobId) => !hasEnded(jobId))
  expect(open.length).toBeGreaterThan(0)
  const states = await Promise.all(open.map((jobId) => desk.queue(0).getJobState(jobId)))
  expect(states).toEqual(open.map(() => 'prioritized'))
}

async function isReady(): Promise<boolean> {
  return decodeHeartbeat((await desk.redis.get(keys.worker('w1'))) ?? '').isReady
}

type Kill = (signal: NodeJS.Signals) => void

/** Long answers are under way when `leave` is called; resolves when the process is gone. */
async function leaving(maxTokens: number, leave: (kill: Kill) => void | Promise<void>) {
  let jobs: readonly JobId[] = []
  let failure: unknown = null
  let chunk: unknown = null
  const environment = {
    AXLE_MODEL: 'models/axk1-tiny',
    AXLE_WORKER_ID: 'w1',
    AXLE_LANES: '1',
    AXLE_DRAIN_SECONDS: '100',
    REDIS_URL: server.url,
  }
  const { exitCode, messages: said } = await runToEnd('gpu-worker/main.ts', environment, (message, kill) => {
    if (message.kind !== 'ready') return
    chunk = message.facts['chunk']
    void begin()
      .then(() => leave(kill))
      .catch((error: unknown) => {
        failure = error
        kill('SIGKILL')
      })
  })
  if (failure !== null) throw failure
  expect(said.at(-1)).toMatchObject({ kind: 'ready' })
  return { jobs, exitCode, chunk }

  async function begin(): Promise<void> {
    const messages = [{ role: 'user' as const, content: 'Count to a thousand.' }]
    // No answer ends by itself before the worker is told to leave.
    const request = { messages, temperature: 2, maxTokens, minTokens: maxTokens }
    jobs = await Promise.all(seeds.map((seed) => desk.ask({ seed, request })))
    await Promise.all(jobs.map((jobId) => desk.tokens(jobId, 2)))
  }
}

function hasEnded(jobId: JobId): boolean {
  return desk.live(jobId).some(({ entry }) => entry.kind === 'end')
}

function startCount(jobId: JobId): number {
  return desk.live(jobId).filter(({ entry }) => entry.kind === 'start').length
}
