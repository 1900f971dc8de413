/** The writer of one token log, against the real scripts: order, joining, lost links, and the end. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { LogEntry, TokenEntry } from '../../contract/event.ts'
import type { JobId } from '../../contract/ids.ts'
import { readScriptSources } from '../../contract/script-files.ts'
import { type Ending, JobScripts } from '../../contract/scripts.ts'
import { EventSink } from '../../gpu-worker/event-sink.ts'
import { openLink, RedisGone } from '../../gpu-worker/redis-link.ts'
import { pino } from 'pino'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { JobDesk } from '../fixtures/job-desk.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const ending: Ending = {
  status: 'incomplete',
  finishReasons: ['length'],
  error: null,
  promptTokens: 2,
  cachedTokens: 0,
}
const start: LogEntry = { kind: 'start', epoch: 1, fingerprint: 'f', promptTokens: 2 }
const log = pino({ level: 'silent' })
let server: TestRedis
let desk: JobDesk
let scripts: JobScripts
let link: ReturnType<typeof openLink>
let told: unknown[]

beforeAll(async () => {
  server = await startRedis()
  desk = await JobDesk.open(server)
  link = openLink(server.url, { log, isPipelined: true })
  scripts = new JobScripts(link, readScriptSources())
})
afterAll(async () => {
  link.disconnect()
  await server.stop()
})
beforeEach(() => {
  told = []
})

const token = (index: number, channel: TokenEntry['channel'] = 'content'): TokenEntry => ({
  kind: 'token',
  choice: 0,
  index,
  tokenIds: [index],
  channel,
  text: `${index}`,
})

const chances = (index: number) => [{ token: `${index}`, logProb: index / 8 - 1 }]

async function claimed(deadlineMs = 10_000): Promise<{ jobId: JobId; sink: EventSink }> {
  const jobId = await desk.ask({}, 'admitted')
  await desk.scripts.claim(jobId, 'w1')
  const sink = new EventSink(scripts, { jobId, epoch: 1, entryCount: 0 }, deadlineMs, {
    onCancelled: () => void told.push('cancelled'),
    onRefused: (code) => void told.push(code),
    onFailed: (error) => void told.push(error),
  })
  return { jobId, sink }
}

async function entriesOf(jobId: JobId): Promise<LogEntry[]> {
  return (await readHistory(desk.redis, jobId)).log.map(({ entry }) => entry)
}

describe('EventSink', () => {
  it('writes in order, and the end behind everything', async () => {
    const { jobId, sink } = await claimed()
    sink.append(start)
    for (let index = 0; index < 20; index++) sink.append(token(index, index < 7 ? 'reasoning' : 'content'))
    expect(await sink.finish(ending)).toBe('ok')
    const { tokenIds, text, end } = checkHistory(await readHistory(desk.redis, jobId))
    expect(tokenIds).toEqual(Array.from({ length: 20 }, (_, index) => index))
    expect(text).toBe(tokenIds.join(''))
    expect(end.usage.reasoningTokens).toBe(7)
  })

  it('joins tokens that wait, never across channels, and never into an entry under way', async () => {
    const { jobId, sink } = await claimed()
    sink.append(token(0, 'reasoning'))
    for (const index of [1, 2]) sink.append(token(index, 'reasoning'))
    for (const index of [3, 4]) sink.append(token(index))
    expect(sink.backlogCount).toBe(5)
    await sink.writing
    expect(sink.backlogCount).toBe(0)
    const ids = (await entriesOf(jobId)).map((entry) => (entry.kind === 'token' ? entry.tokenIds : []))
    expect(ids).toEqual([[0], [1, 2], [3, 4]])
  })

  it('keeps what is told of each token when tokens are joined', async () => {
    const { jobId, sink } = await claimed()
    for (const index of [0, 1, 2]) sink.append({ ...token(index), logProbs: [chances(index)] })
    await sink.writing
    const logProbs = (await entriesOf(jobId)).map((entry) => (entry.kind === 'token' ? entry.logProbs : null))
    expect(logProbs).toEqual([[chances(0)], [chances(1), chances(2)]])
  })

  it('says when its backlog is short again, before all of it is written', async () => {
    const { sink } = await claimed()
    sink.append(start)
    for (let index = 0; index < 6; index++) sink.append(token(index, index < 3 ? 'reasoning' : 'content'))
    expect(sink.backlogCount).toBe(6)
    await sink.relief(6)
    expect(sink.backlogCount).toBe(3)
    await sink.relief(1)
    expect(sink.backlogCount).toBe(0)
  })

  it('waits for a Redis that was killed, and writes each entry once when it is back', async () => {
    const { jobId, sink } = await claimed()
    sink.append(token(0))
    await sink.writing
    await server.kill()
    for (const index of [1, 2, 3]) sink.append(token(index))
    await server.start()
    expect(await sink.finish(ending)).toBe('ok')
    expect(checkHistory(await readHistory(desk.redis, jobId)).tokenIds).toEqual([0, 1, 2, 3])
    expect(told).toEqual([])
  })

  it('gives up after its deadline, and says so', async () => {
    const { sink } = await claimed(200)
    await server.kill()
    try {
      sink.append(token(0))
      await sink.writing
      expect(told).toEqual([expect.any(RedisGone)])
      expect(await sink.finish(ending)).toBeNull()
    } finally {
      await server.start()
    }
  })

  it('falls silent once it is fenced', async () => {
    const { jobId, sink } = await claimed()
    sink.append(token(0))
    await sink.writing
    await desk.scripts.claim(jobId, 'w2')
    sink.append(token(1))
    sink.append(token(2))
    expect(await sink.finish(ending)).toBeNull()
    expect(told).toEqual(['fenced'])
    expect(await entriesOf(jobId)).toEqual([token(0)])
  })

  it('passes on that the job was asked to end', async () => {
    const { jobId, sink } = await claimed()
    await desk.scripts.cancel(jobId)
    sink.append(token(0))
    await sink.writing
    expect(told).toEqual(['cancelled'])
    expect(await sink.finish({ ...ending, status: 'cancelled', finishReasons: [] })).toBe('ok')
  })
})
