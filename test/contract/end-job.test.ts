/** The ways a job ends, on a real Redis: `finish`, `cancel`, `expire`; once, whoever asks and however often. */
import { describe, expect, it } from 'vitest'
import { channels, keys } from '../../contract/keys.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { admissionOf } from '../fixtures/job-desk.ts'
import { admitted, anError, appended, claimed, ending, scriptBench, statusOf, token } from '../fixtures/script-bench.ts'

const bench = scriptBench()

describe('finish', () => {
  it('ends a job once: repeating it is ok and changes nothing (I4, I6)', async () => {
    const jobId = await claimed(bench)
    await bench.scripts.append(jobId, 1, 1, token(0))
    expect(await bench.scripts.finish(jobId, 1, ending)).toBe('ok')
    expect(await bench.scripts.finish(jobId, 1, { ...ending, status: 'failed', error: anError })).toBe('ok')
    const { end } = checkHistory(await readHistory(bench.redis, jobId))
    expect(end).toMatchObject({ status: 'completed', finishReasons: ['stop'], error: null })
  })

  it.each(['completed', 'incomplete', 'failed', 'cancelled'] as const)('writes what was asked: %s', async (end) => {
    const jobId = await claimed(bench)
    const error = end === 'failed' ? anError : null
    await bench.scripts.finish(jobId, 1, { ...ending, status: end, error })
    expect(checkHistory(await readHistory(bench.redis, jobId)).end).toMatchObject({ status: end, error })
  })

  it('is refused to an earlier epoch, and unknown for a job that is gone', async () => {
    const jobId = await claimed(bench)
    await bench.scripts.claim(jobId, 'w2')
    expect(await bench.scripts.finish(jobId, 1, ending)).toBe('fenced')
    expect(await statusOf(bench, jobId)).toBe('running')
    expect(await bench.scripts.finish(jobId, 2, ending)).toBe('ok')
    expect(await bench.scripts.finish(admissionOf().jobId, 1, ending)).toBe('missing')
  })

  it('frees the job’s place, drops its prompt, and lets record and log expire', async () => {
    const jobId = await claimed(bench)
    await bench.scripts.append(jobId, 1, 1, token(0))
    await bench.scripts.finish(jobId, 1, ending)
    expect(await bench.redis.zcard(keys.open)).toBe(0)
    expect(await bench.redis.hget(keys.laneLoad, '0')).toBe('0')
    expect(await bench.redis.hexists(keys.job(jobId), 'request')).toBe(0)
    expect(await bench.redis.pttl(keys.job(jobId))).toBeGreaterThan(0)
    expect(await bench.redis.pttl(keys.log(jobId))).toBeGreaterThan(0)
  })

  it('writes an outbox row for background jobs only (I7)', async () => {
    await bench.scripts.finish(await claimed(bench), 1, ending)
    expect(await bench.redis.xlen(keys.outbox)).toBe(0)
    const background = await claimed(bench, { isBackground: true })
    await bench.scripts.finish(background, 1, ending)
    await bench.scripts.finish(background, 1, ending)
    const rows = await bench.redis.xrange(keys.outbox, '-', '+')
    expect(rows).toHaveLength(1)
    expect(rows[0]?.[1]).toEqual(expect.arrayContaining(['jobId', background, 'status', 'completed']))
  })

  it('bills to tenant, key, model and mode', async () => {
    const jobId = await claimed(bench, { request: { thinking: { think: true, effort: null, budget: null } } })
    await bench.scripts.finish(jobId, 1, ending)
    const { usage } = await readHistory(bench.redis, jobId)
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
    const jobId = await admitted(bench)
    if (before === 'queued') await bench.scripts.queued(jobId)
    expect(await bench.scripts.cancel(jobId)).toBe('cancelled')
    expect(checkHistory(await readHistory(bench.redis, jobId)).end).toMatchObject({
      status: 'cancelled',
      finishReasons: [],
    })
    expect(await bench.scripts.claim(jobId, 'w1')).toEqual({ kind: 'terminal' })
  })

  it('tells the worker of a running job, and leaves its end to it', async () => {
    const jobId = await claimed(bench)
    const listener = bench.server.connect()
    await listener.subscribe(channels.cancel)
    const heard = new Promise((resolve) => {
      listener.once('message', (_channel: string, message: string) => resolve(message))
    })
    expect(await bench.scripts.cancel(jobId)).toBe('cancelling')
    expect(await heard).toBe(jobId)
    expect(await statusOf(bench, jobId)).toBe('running')
  })

  it('changes nothing when repeated, on an ended job, or on none', async () => {
    const jobId = await claimed(bench)
    expect([await bench.scripts.cancel(jobId), await bench.scripts.cancel(jobId)]).toEqual(['cancelling', 'cancelling'])
    await bench.scripts.finish(jobId, 1, ending)
    expect(await bench.scripts.cancel(jobId)).toBe('terminal')
    expect(checkHistory(await readHistory(bench.redis, jobId)).end.status).toBe('completed')
    expect(await bench.scripts.cancel(admissionOf().jobId)).toBe('missing')
  })
})

describe('expire', () => {
  const hour = 3_600_000

  it.each(['accepted', 'queued', 'running'])(
    'ends a job that is %s once it is too old, and fences it',
    async (before) => {
      const jobId = await admitted(bench)
      if (before === 'queued') await bench.scripts.queued(jobId)
      if (before === 'running') await bench.scripts.claim(jobId, 'w1')
      expect(await bench.scripts.expire(jobId, hour, anError)).toBe('young')
      expect(await statusOf(bench, jobId)).toBe(before)
      await bench.redis.set(keys.clockOffset, hour)
      expect(await bench.scripts.expire(jobId, hour, anError)).toBe('expired')
      expect(checkHistory(await readHistory(bench.redis, jobId)).end).toMatchObject({
        status: 'expired',
        error: anError,
      })
      expect(await bench.scripts.append(jobId, 1, 1, token(0))).toMatchObject({ code: 'fenced' })
    },
  )

  it('follows Redis’ clock, shifted: one millisecond decides', async () => {
    const jobId = await admitted(bench)
    await bench.redis.set(keys.clockOffset, hour)
    const admittedAtMs = Number(await bench.redis.hget(keys.job(jobId), 'admittedAtMs'))
    const [seconds = 0, microseconds = 0] = (await bench.redis.time()).map(Number)
    const ageMs = seconds * 1_000 + Math.floor(microseconds / 1_000) + hour - admittedAtMs
    expect(await bench.scripts.expire(jobId, ageMs + 60_000, anError)).toBe('young')
    expect(await bench.scripts.expire(jobId, ageMs, anError)).toBe('expired')
  })

  it('leaves an ended job alone, and clears the place of one that is gone', async () => {
    const jobId = await claimed(bench)
    await bench.scripts.finish(jobId, 1, ending)
    expect(await bench.scripts.expire(jobId, 0, anError)).toBe('terminal')
    const gone = await admitted(bench)
    await bench.redis.del(keys.job(gone))
    expect(await bench.scripts.expire(gone, 0, anError)).toBe('missing')
    expect(await bench.redis.zcard(keys.open)).toBe(0)
  })
})

async function full(work: () => Promise<void>): Promise<void> {
  await bench.redis.config('SET', 'maxmemory', '1')
  try {
    await work()
  } finally {
    await bench.redis.config('SET', 'maxmemory', '0')
  }
}

describe('a Redis that is full', () => {
  it('takes no job, also when nothing is open', async () => {
    await bench.scripts.finish(await claimed(bench), 1, ending)
    const before = await bench.redis.dbsize()
    await full(async () => {
      await expect(bench.scripts.admit(admissionOf())).rejects.toThrow('OOM')
    })
    expect(await bench.redis.dbsize()).toBe(before)
    expect(await bench.redis.zcard(keys.open)).toBe(0)
  })

  it('takes no token, but lets every job end', async () => {
    const [waiting, old, revoked, running] = [
      await admitted(bench),
      await admitted(bench),
      await admitted(bench, { keyId: 'keyid002' }),
      await claimed(bench),
    ]
    await bench.redis.sadd(keys.revoked, 'keyid002')
    await full(async () => {
      await expect(bench.scripts.append(running, 1, 1, token(0))).rejects.toThrow('OOM')
      expect(await bench.scripts.finish(running, 1, ending)).toBe('ok')
      expect(await bench.scripts.cancel(waiting)).toBe('cancelled')
      expect(await bench.scripts.expire(old, 0, anError)).toBe('expired')
      expect(await bench.scripts.claim(revoked, 'w1')).toEqual({ kind: 'revoked' })
    })
    const ends = []
    for (const jobId of [running, waiting, old, revoked]) {
      ends.push(checkHistory(await readHistory(bench.redis, jobId)).end.status)
    }
    expect(ends).toEqual(['completed', 'cancelled', 'expired', 'failed'])
    expect(await bench.redis.zcard(keys.open)).toBe(0)
  })
})

describe('every script', () => {
  it('finds its way back after Redis forgot all scripts', async () => {
    const jobId = await claimed(bench)
    await bench.redis.script('FLUSH')
    expect(await bench.scripts.append(jobId, 1, 1, token(0))).toEqual(appended)
  })

  it('keeps its keys in the one hash slot of the cell', async () => {
    const jobId = await claimed(bench, { isBackground: true, idempotency: { keyDigest: 'k', bodyDigest: 'b' } })
    await bench.scripts.append(jobId, 1, 1, token(0))
    await bench.scripts.finish(jobId, 1, ending)
    const names = await bench.redis.keys('*')
    expect(names.length).toBeGreaterThan(5)
    expect(names.filter((name) => !name.startsWith('{axle}:'))).toEqual([])
  })
})
