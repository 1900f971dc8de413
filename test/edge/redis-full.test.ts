/** Case 39: a Redis whose memory is full takes nothing new and loses nothing it took. Gateway and GPU worker as they ship, fake Runner. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseJobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { readEvents, take } from '../fixtures/event-stream.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { startScriptedWorker, testModel } from '../fixtures/scripted-worker.ts'
import { WorkerBench } from '../fixtures/worker-bench.ts'

const maxTokens = 300
const bench = WorkerBench.forThisFile()
let edge: TestEdge

beforeAll(async () => {
  edge = await startTestEdge(bench.server.url, { laneCount: 1, shardCount: 1 })
}, 60_000)
afterAll(() => edge.stop())

const messages = [{ role: 'user', content: 'hello' }]

/** @param memory bytes; 1 = full, 0 = without bound. */
function setMemory(memory: 0 | 1): Promise<unknown> {
  return bench.desk.redis.config('SET', 'maxmemory', memory)
}

async function expectRefusal(response: Response): Promise<void> {
  expect(response.status).toBe(503)
  expect(response.headers.get('retry-after')).toBe('1')
  expect(response.headers.get('x-should-retry')).toBe('true')
  expect(await response.json()).toMatchObject({ error: { code: 'queue_unavailable' } })
}

/** Keys of jobs and slots: what a refused request must not leave behind. */
function jobKeys(): Promise<string[]> {
  return bench.desk.redis.keys('{axle}:{job,log,idempotency}:*')
}

it('case 39: a full Redis refuses new work with 503 and Retry-After, and what runs goes on as soon as there is room', async () => {
  await bench.start({ stepMs: () => 5 }, { laneCount: 1 })
  const chat = { model: 'tiny', messages, max_completion_tokens: maxTokens }
  await expect.poll(async () => (await edge.send('/readyz')).status).toBe(200)
  const running = await edge.chat({ ...chat, stream: true })
  const events = readEvents(running)
  const { id }: { id: string } = JSON.parse((await take(events)).data ?? '') as { id: string }
  const jobId = parseJobId(id.replace('chatcmpl-', ''))
  if (jobId === null) throw new Error(`${id} names no job`)
  await bench.desk.tokens(jobId, 10)

  const before = await jobKeys()
  await setMemory(1)
  try {
    await expect
      .poll(async () => /errorstat_OOM:count=[1-9]/.test(await bench.desk.redis.info('errorstats')))
      .toBe(true)
    await expectRefusal(await edge.chat(chat))
    await expectRefusal(await edge.chat(chat, { headers: { 'idempotency-key': 'full' } }))
    expect(await jobKeys()).toEqual(before)
    expect(await bench.desk.redis.zcard(keys.open)).toBe(1)
    expect((await edge.send('/readyz')).status).toBe(200)
  } finally {
    await setMemory(0)
  }

  let isDone = false
  for await (const { data } of events) isDone ||= data === '[DONE]'
  expect(isDone).toBe(true)
  const { end, tokenIds } = checkHistory(await readHistory(bench.desk.redis, jobId))
  expect([end.status, tokenIds.length]).toEqual(['incomplete', maxTokens])
  // The refused one begins nothing by its key: asked again it is a job like any other.
  const again = await edge.chat({ ...chat, max_completion_tokens: 3 }, { headers: { 'idempotency-key': 'full' } })
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([200, null])
})

it('case 39: a job may end while Redis is full: its client has the whole answer, its bill is written once', async () => {
  const worker = await startScriptedWorker(bench.server, 1)
  try {
    // The gateway looks at the fleet once a second.
    const served = async () => (await edge.send(`/v1/models/${testModel.id}`)).status
    await expect.poll(served, { timeout: 5_000 }).toBe(200)
    const answer = edge.chat({ model: testModel.id, messages })
    const job = await worker.next()
    await job.start()
    await job.say('whole')
    await setMemory(1)
    await expect(job.say('more')).rejects.toThrow('OOM')
    await job.end()
    const response = await answer
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: 'whole' } }] })
    expect(await bench.desk.redis.xlen(keys.usage)).toBe(1)
    expect(await bench.desk.redis.zcard(keys.open)).toBe(0)
  } finally {
    await setMemory(0)
    await worker.stop()
  }
})
