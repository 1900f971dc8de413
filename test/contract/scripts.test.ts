/** The Lua scripts on a real Redis: what each header guarantees, from both sides of every boundary. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { decodeStreamEntry, type LogEntry, type TokenEntry } from '../../contract/event.ts'
import type { JobId } from '../../contract/ids.ts'
import { channels, keys } from '../../contract/keys.ts'
import { priorityMax, tokensPerPriority } from '../../contract/limits.ts'
import { readScriptSources } from '../../contract/script-files.ts'
import { type Ending, JobScripts } from '../../contract/scripts.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { admissionOf, type AskOptions, plainRequest } from '../fixtures/job-desk.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const anError = { code: 'worker_failed', message: 'Lost.', param: null } as const
const ending: Ending = { status: 'completed', finishReasons: ['stop'], error: null, promptTokens: 11, cachedTokens: 0 }
let server: TestRedis
let redis: ReturnType<TestRedis['connect']>
let scripts: JobScripts

beforeAll(async () => {
  server = await startRedis()
  redis = server.connect()
  scripts = new JobScripts(redis, readScriptSources())
})
afterAll(() => server.stop())
beforeEach(() => redis.flushall())

async function admitted(options: AskOptions = {}): Promise<JobId> {
  const admission = admissionOf(options)
  expect(await scripts.admit(admission)).toMatchObject({ kind: 'admitted' })
  return admission.jobId
}

async function claimed(options: AskOptions = {}): Promise<JobId> {
  const jobId = await admitted(options)
  expect(await scripts.claim(jobId, 'w1')).toMatchObject({ kind: 'claimed', record: { epoch: 1 } })
  return jobId
}

const status = (jobId: JobId) => redis.hget(keys.job(jobId), 'status')
const token = (index: number, channel: TokenEntry['channel'] = 'content'): TokenEntry => ({
  kind: 'token',
  choice: 0,
  index,
  tokenIds: [100 + index],
  channel,
  text: `t${index}`,
})
const ok = { code: 'ok', isCancelled: false }

async function readLog(jobId: JobId): Promise<LogEntry[]> {
  return (await redis.xrange(keys.log(jobId), '-', '+')).map((entry) => decodeStreamEntry(entry).entry)
}

describe('admit', () => {
  it('writes the whole record before anything else knows the job', async () => {
    const admission = admissionOf({ seed: -5n, costTokens: 200, request: { maxTokens: 9 } })
    expect(await scripts.admit(admission)).toEqual({ kind: 'admitted', lane: 0, priority: 1 })
    const claim = await scripts.claim(admission.jobId, 'w1')
    expect(claim).toMatchObject({
      kind: 'claimed',
      record: {
        id: admission.jobId,
        status: 'running',
        tenantId: 'tenant-1',
        model: 'axk1-tiny',
        lane: 0,
        priority: 1,
        seed: -5n,
        epoch: 1,
        entryCount: 0,
        isCancelled: false,
        request: { ...plainRequest, maxTokens: 9 },
      },
    })
    expect(await redis.zcard(keys.open)).toBe(1)
  })

  it('spreads jobs over lanes by load, the lowest index first', async () => {
    const lanes = []
    for (let count = 0; count < 5; count++) {
      const result = await scripts.admit(admissionOf({ laneCount: 3 }))
      lanes.push(result.kind === 'admitted' && result.lane)
    }
    expect(lanes).toEqual([0, 1, 2, 0, 1])
  })

  it('puts a tenant’s second job behind another tenant’s first', async () => {
    const first = await priorityOf({ tenantId: 'a', costTokens: 1_000 })
    const second = await priorityOf({ tenantId: 'a', costTokens: 1_000 })
    const other = await priorityOf({ tenantId: 'b', costTokens: 1_000 })
    expect(first).toBe(1)
    expect(second).toBe(1 + Math.floor(1_000 / tokensPerPriority))
    expect(other).toBe(1)
  })

  it('starts a newcomer at the virtual time that claims have reached, not in the past', async () => {
    await admitted({ tenantId: 'a', costTokens: 6_400 })
    const second = await admitted({ tenantId: 'a', costTokens: 6_400 })
    await scripts.claim(second, 'w1')
    expect(await priorityOf({ tenantId: 'b' })).toBe(1 + 6_400 / tokensPerPriority)
  })

  it('never gives priority 0, which would jump the queue, nor one above BullMQ’s highest', async () => {
    expect(await priorityOf({ tenantId: 'a', costTokens: 2 ** 40 })).toBe(1)
    expect(await priorityOf({ tenantId: 'a' })).toBe(priorityMax)
  })

  it('forgets who was served once the cell is empty', async () => {
    const jobId = await claimed({ tenantId: 'a', costTokens: 100_000 })
    await scripts.finish(jobId, 1, ending)
    expect(await priorityOf({ tenantId: 'a' })).toBe(1)
  })

  it('sheds what would be one job too many, and takes what still fits', async () => {
    const openJobsMax = 2
    expect(await scripts.admit(admissionOf({ openJobsMax }))).toMatchObject({ kind: 'admitted' })
    expect(await scripts.admit(admissionOf({ openJobsMax }))).toMatchObject({ kind: 'admitted' })
    const refused = admissionOf({ openJobsMax })
    expect(await scripts.admit(refused)).toEqual({ kind: 'full', openJobs: 2 })
    expect(await redis.exists(keys.job(refused.jobId))).toBe(0)
  })

  it('refuses a revoked key and leaves nothing behind', async () => {
    await redis.sadd(keys.revoked, 'keyid001')
    const refused = admissionOf({ idempotency: { keyDigest: 'k', bodyDigest: 'b' } })
    expect(await scripts.admit(refused)).toEqual({ kind: 'revoked' })
    expect(await redis.exists(keys.job(refused.jobId), keys.idempotency('tenant-1', 'k'))).toBe(0)
    expect(await scripts.admit(admissionOf({ keyId: 'keyid002' }))).toMatchObject({ kind: 'admitted' })
  })

  it('finds the first job again under its idempotency key, also when it ended', async () => {
    const idempotency = { keyDigest: 'k', bodyDigest: 'b' }
    const jobId = await claimed({ idempotency })
    expect(await scripts.admit(admissionOf({ idempotency }))).toEqual({ kind: 'replay', jobId })
    await scripts.finish(jobId, 1, ending)
    expect(await scripts.admit(admissionOf({ idempotency }))).toEqual({ kind: 'replay', jobId })
    expect(await redis.zcard(keys.open)).toBe(0)
  })

  it('refuses a used idempotency key with another body, and knows no other tenant’s', async () => {
    await admitted({ idempotency: { keyDigest: 'k', bodyDigest: 'b' } })
    const reused = { keyDigest: 'k', bodyDigest: 'other' }
    expect(await scripts.admit(admissionOf({ idempotency: reused }))).toEqual({ kind: 'reused' })
    expect(await scripts.admit(admissionOf({ tenantId: 'tenant-2', idempotency: reused }))).toMatchObject({
      kind: 'admitted',
    })
  })

  it('makes one job of a hundred equal requests at once', async () => {
    const idempotency = { keyDigest: 'k', bodyDigest: 'b' }
    const results = await Promise.all(Array.from({ length: 100 }, () => scripts.admit(admissionOf({ idempotency }))))
    expect(results.filter(({ kind }) => kind === 'admitted')).toHaveLength(1)
    expect(results.filter(({ kind }) => kind === 'replay')).toHaveLength(99)
  })
})

describe('queued', () => {
  it('moves an accepted job only: a fast worker is not set back', async () => {
    const jobId = await admitted()
    await scripts.queued(jobId)
    expect(await status(jobId)).toBe('queued')
    await scripts.claim(jobId, 'w1')
    await scripts.queued(jobId)
    expect(await status(jobId)).toBe('running')
  })
})

describe('claim', () => {
  it.each(['accepted', 'queued', 'running'])('takes a job that is %s, with the next epoch', async (before) => {
    const jobId = await admitted()
    if (before === 'queued') await scripts.queued(jobId)
    if (before === 'running') await scripts.claim(jobId, 'w0')
    const epoch = before === 'running' ? 2 : 1
    expect(await scripts.claim(jobId, 'w1')).toMatchObject({ kind: 'claimed', record: { epoch, status: 'running' } })
  })

  it('knows no job that was never admitted, and no job that ended', async () => {
    expect(await scripts.claim(admissionOf().jobId, 'w1')).toEqual({ kind: 'missing' })
    const jobId = await claimed()
    await scripts.finish(jobId, 1, ending)
    expect(await scripts.claim(jobId, 'w1')).toEqual({ kind: 'terminal' })
    expect(await redis.hget(keys.job(jobId), 'epoch')).toBe('1')
  })

  it('ends the job of a key that was revoked meanwhile', async () => {
    const jobId = await admitted()
    await redis.sadd(keys.revoked, 'keyid001')
    expect(await scripts.claim(jobId, 'w1')).toEqual({ kind: 'revoked' })
    const { end } = checkHistory(await readHistory(redis, jobId))
    expect(end).toMatchObject({ status: 'failed', error: { code: 'key_revoked' } })
  })

  it('ends a job that was asked to end while nobody held it', async () => {
    const jobId = await claimed()
    await scripts.cancel(jobId)
    expect(await scripts.claim(jobId, 'w2')).toEqual({ kind: 'cancelled' })
    expect(checkHistory(await readHistory(redis, jobId)).end.status).toBe('cancelled')
    expect(await scripts.append(jobId, 1, 1, token(0))).toMatchObject({ code: 'fenced' })
  })
})

describe('append', () => {
  it('stores entries in order, counts their tokens by channel, and publishes each', async () => {
    const jobId = await claimed()
    const heard: string[] = []
    const listener = server.connect()
    listener.on('message', (_channel: string, message: string) => void heard.push(message))
    await listener.subscribe(channels.live(0))
    const start: LogEntry = { kind: 'start', epoch: 1, fingerprint: 'f', promptTokens: 3 }
    const two: TokenEntry = { ...token(1), tokenIds: [7, 8] }
    const entries = [start, token(0, 'reasoning'), two, token(3)]
    for (const [position, entry] of entries.entries()) {
      expect(await scripts.append(jobId, 1, position + 1, entry)).toEqual(ok)
    }
    expect(await readLog(jobId)).toEqual(entries)
    await expect.poll(() => heard.length).toBe(4)
    expect(heard[1]).toBe(`${jobId} 2 ${JSON.stringify(token(0, 'reasoning'))}`)
    await scripts.finish(jobId, 1, ending)
    expect(checkHistory(await readHistory(redis, jobId)).end.usage).toEqual({
      promptTokens: 11,
      cachedTokens: 0,
      completionTokens: 4,
      reasoningTokens: 1,
    })
  })

  it('says ok to an entry it has already, and stores it once', async () => {
    const jobId = await claimed()
    await scripts.append(jobId, 1, 1, token(0))
    await scripts.append(jobId, 1, 2, token(1))
    expect(await scripts.append(jobId, 1, 1, token(0))).toEqual(ok)
    expect(await scripts.append(jobId, 1, 2, token(1))).toEqual(ok)
    expect(await readLog(jobId)).toHaveLength(2)
    expect(await redis.hget(keys.job(jobId), 'completionTokens')).toBe('2')
  })

  it('refuses other content at a place that is taken', async () => {
    const jobId = await claimed()
    await scripts.append(jobId, 1, 1, token(0))
    const forged = { ...token(0), text: 'other' }
    expect(await scripts.append(jobId, 1, 1, forged)).toMatchObject({ code: 'conflict' })
    expect(await readLog(jobId)).toEqual([token(0)])
  })

  it('refuses a gap between entries, and one between tokens', async () => {
    const jobId = await claimed()
    expect(await scripts.append(jobId, 1, 2, token(0))).toMatchObject({ code: 'gap' })
    expect(await scripts.append(jobId, 1, 1, token(1))).toMatchObject({ code: 'gap' })
    await scripts.append(jobId, 1, 1, token(0))
    expect(await scripts.append(jobId, 1, 2, token(0))).toMatchObject({ code: 'gap' })
    expect(await scripts.append(jobId, 1, 2, token(1))).toEqual(ok)
    expect(await readLog(jobId)).toHaveLength(2)
  })

  it('counts the tokens of every choice apart', async () => {
    const jobId = await claimed()
    expect(await scripts.append(jobId, 1, 1, token(0))).toEqual(ok)
    expect(await scripts.append(jobId, 1, 2, { ...token(0), choice: 1 })).toEqual(ok)
    expect(await scripts.append(jobId, 1, 3, { ...token(2), choice: 1 })).toMatchObject({ code: 'gap' })
  })

  it('fences the earlier epoch from the claim on, and a later one that nobody was given', async () => {
    const jobId = await claimed()
    await scripts.append(jobId, 1, 1, token(0))
    await scripts.claim(jobId, 'w2')
    expect(await scripts.append(jobId, 1, 1, token(0))).toMatchObject({ code: 'fenced' })
    expect(await scripts.append(jobId, 1, 2, token(1))).toMatchObject({ code: 'fenced' })
    expect(await scripts.append(jobId, 3, 2, token(1))).toMatchObject({ code: 'fenced' })
    expect(await scripts.append(jobId, 2, 2, token(1))).toEqual(ok)
  })

  it('fences everyone before a claim and after an end; a job that is gone is missing', async () => {
    const jobId = await admitted()
    expect(await scripts.append(jobId, 0, 1, token(0))).toMatchObject({ code: 'fenced' })
    await scripts.claim(jobId, 'w1')
    await scripts.finish(jobId, 1, ending)
    expect(await scripts.append(jobId, 1, 2, token(0))).toMatchObject({ code: 'fenced' })
    await redis.del(keys.job(jobId))
    expect(await scripts.append(jobId, 1, 2, token(0))).toMatchObject({ code: 'missing' })
  })

  it('tells its writer that the job was asked to end', async () => {
    const jobId = await claimed()
    expect(await scripts.append(jobId, 1, 1, token(0))).toEqual(ok)
    await scripts.cancel(jobId)
    expect(await scripts.append(jobId, 1, 2, token(1))).toEqual({ code: 'ok', isCancelled: true })
  })
})

describe('finish', () => {
  it('ends a job once: repeating it is ok and changes nothing (I4, I6)', async () => {
    const jobId = await claimed()
    await scripts.append(jobId, 1, 1, token(0))
    expect(await scripts.finish(jobId, 1, ending)).toBe('ok')
    expect(await scripts.finish(jobId, 1, { ...ending, status: 'failed', error: anError })).toBe('ok')
    const { end } = checkHistory(await readHistory(redis, jobId))
    expect(end).toMatchObject({ status: 'completed', finishReasons: ['stop'], error: null })
  })

  it.each(['completed', 'incomplete', 'failed', 'cancelled'] as const)('writes what was asked: %s', async (end) => {
    const jobId = await claimed()
    const error = end === 'failed' ? anError : null
    await scripts.finish(jobId, 1, { ...ending, status: end, error })
    expect(checkHistory(await readHistory(redis, jobId)).end).toMatchObject({ status: end, error })
  })

  it('is refused to an earlier epoch, and unknown for a job that is gone', async () => {
    const jobId = await claimed()
    await scripts.claim(jobId, 'w2')
    expect(await scripts.finish(jobId, 1, ending)).toBe('fenced')
    expect(await status(jobId)).toBe('running')
    expect(await scripts.finish(jobId, 2, ending)).toBe('ok')
    expect(await scripts.finish(admissionOf().jobId, 1, ending)).toBe('missing')
  })

  it('frees the job’s place, drops its prompt, and lets record and log expire', async () => {
    const jobId = await claimed()
    await scripts.append(jobId, 1, 1, token(0))
    await scripts.finish(jobId, 1, ending)
    expect(await redis.zcard(keys.open)).toBe(0)
    expect(await redis.hget(keys.laneLoad, '0')).toBe('0')
    expect(await redis.hexists(keys.job(jobId), 'request')).toBe(0)
    expect(await redis.pttl(keys.job(jobId))).toBeGreaterThan(0)
    expect(await redis.pttl(keys.log(jobId))).toBeGreaterThan(0)
  })

  it('writes an outbox row for background jobs only (I7)', async () => {
    await scripts.finish(await claimed(), 1, ending)
    expect(await redis.xlen(keys.outbox)).toBe(0)
    const background = await claimed({ isBackground: true })
    await scripts.finish(background, 1, ending)
    await scripts.finish(background, 1, ending)
    const rows = await redis.xrange(keys.outbox, '-', '+')
    expect(rows).toHaveLength(1)
    expect(rows[0]?.[1]).toEqual(expect.arrayContaining(['jobId', background, 'status', 'completed']))
  })

  it('bills to tenant, key, model and mode', async () => {
    const jobId = await claimed({ request: { thinking: { think: true, effort: null, budget: null } } })
    await scripts.finish(jobId, 1, ending)
    const { usage } = await readHistory(redis, jobId)
    expect(usage).toEqual([
      expect.objectContaining({
        tenantId: 'tenant-1',
        keyId: 'keyid001',
        model: 'axk1-tiny',
        isThinking: '1',
        promptTokens: '11',
      }),
    ])
  })
})

describe('cancel', () => {
  it.each(['accepted', 'queued'])('ends a job at once that is %s', async (before) => {
    const jobId = await admitted()
    if (before === 'queued') await scripts.queued(jobId)
    expect(await scripts.cancel(jobId)).toBe('cancelled')
    expect(checkHistory(await readHistory(redis, jobId)).end).toMatchObject({ status: 'cancelled', finishReasons: [] })
    expect(await scripts.claim(jobId, 'w1')).toEqual({ kind: 'terminal' })
  })

  it('tells the worker of a running job, and leaves its end to it', async () => {
    const jobId = await claimed()
    const listener = server.connect()
    await listener.subscribe(channels.cancel)
    const heard = new Promise((resolve) => {
      listener.once('message', (_channel: string, message: string) => resolve(message))
    })
    expect(await scripts.cancel(jobId)).toBe('cancelling')
    expect(await heard).toBe(jobId)
    expect(await status(jobId)).toBe('running')
  })

  it('changes nothing when repeated, on an ended job, or on none', async () => {
    const jobId = await claimed()
    expect([await scripts.cancel(jobId), await scripts.cancel(jobId)]).toEqual(['cancelling', 'cancelling'])
    await scripts.finish(jobId, 1, ending)
    expect(await scripts.cancel(jobId)).toBe('terminal')
    expect(checkHistory(await readHistory(redis, jobId)).end.status).toBe('completed')
    expect(await scripts.cancel(admissionOf().jobId)).toBe('missing')
  })
})

describe('expire', () => {
  const hour = 3_600_000

  it.each(['accepted', 'queued', 'running'])(
    'ends a job that is %s once it is too old, and fences it',
    async (before) => {
      const jobId = await admitted()
      if (before === 'queued') await scripts.queued(jobId)
      if (before === 'running') await scripts.claim(jobId, 'w1')
      expect(await scripts.expire(jobId, hour, anError)).toBe('young')
      expect(await status(jobId)).toBe(before)
      await redis.set(keys.clockOffset, hour)
      expect(await scripts.expire(jobId, hour, anError)).toBe('expired')
      expect(checkHistory(await readHistory(redis, jobId)).end).toMatchObject({ status: 'expired', error: anError })
      expect(await scripts.append(jobId, 1, 1, token(0))).toMatchObject({ code: 'fenced' })
    },
  )

  it('follows Redis’ clock, shifted: one millisecond decides', async () => {
    const jobId = await admitted()
    await redis.set(keys.clockOffset, hour)
    const admittedAtMs = Number(await redis.hget(keys.job(jobId), 'admittedAtMs'))
    const [seconds = 0, microseconds = 0] = (await redis.time()).map(Number)
    const ageMs = seconds * 1_000 + Math.floor(microseconds / 1_000) + hour - admittedAtMs
    expect(await scripts.expire(jobId, ageMs + 60_000, anError)).toBe('young')
    expect(await scripts.expire(jobId, ageMs, anError)).toBe('expired')
  })

  it('leaves an ended job alone, and clears the place of one that is gone', async () => {
    const jobId = await claimed()
    await scripts.finish(jobId, 1, ending)
    expect(await scripts.expire(jobId, 0, anError)).toBe('terminal')
    const gone = await admitted()
    await redis.del(keys.job(gone))
    expect(await scripts.expire(gone, 0, anError)).toBe('missing')
    expect(await redis.zcard(keys.open)).toBe(0)
  })
})

describe('every script', () => {
  it('finds its way back after Redis forgot all scripts', async () => {
    const jobId = await claimed()
    await redis.script('FLUSH')
    expect(await scripts.append(jobId, 1, 1, token(0))).toEqual(ok)
  })

  it('keeps its keys in the one hash slot of the cell', async () => {
    const jobId = await claimed({ isBackground: true, idempotency: { keyDigest: 'k', bodyDigest: 'b' } })
    await scripts.append(jobId, 1, 1, token(0))
    await scripts.finish(jobId, 1, ending)
    const names = await redis.keys('*')
    expect(names.length).toBeGreaterThan(5)
    expect(names.filter((name) => !name.startsWith('{axle}:'))).toEqual([])
  })
})

async function priorityOf(options: AskOptions): Promise<number> {
  const result = await scripts.admit(admissionOf(options))
  return result.kind === 'admitted' ? result.priority : Number.NaN
}
