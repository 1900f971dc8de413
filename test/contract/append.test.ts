/** `queued`, `claim` and `append` on a real Redis: one writer, in order, from both sides of every boundary. */
import { describe, expect, it } from 'vitest'
import type { LogEntry, TokenEntry } from '../../contract/event.ts'
import { channels, keys } from '../../contract/keys.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { admissionOf } from '../fixtures/job-desk.ts'
import {
  admitted,
  appended,
  claimed,
  ending,
  readEntries,
  scriptBench,
  statusOf,
  token,
} from '../fixtures/script-bench.ts'

const bench = scriptBench()

describe('queued', () => {
  it('moves an accepted job only: a fast worker is not set back', async () => {
    const jobId = await admitted(bench)
    await bench.scripts.queued(jobId)
    expect(await statusOf(bench, jobId)).toBe('queued')
    await bench.scripts.claim(jobId, 'w1')
    await bench.scripts.queued(jobId)
    expect(await statusOf(bench, jobId)).toBe('running')
  })
})

describe('claim', () => {
  it.each(['accepted', 'queued', 'running'])('takes a job that is %s, with the next epoch', async (before) => {
    const jobId = await admitted(bench)
    if (before === 'queued') await bench.scripts.queued(jobId)
    if (before === 'running') await bench.scripts.claim(jobId, 'w0')
    const epoch = before === 'running' ? 2 : 1
    expect(await bench.scripts.claim(jobId, 'w1')).toMatchObject({
      kind: 'claimed',
      record: { epoch, status: 'running' },
    })
  })

  it('knows no job that was never admitted, and no job that ended', async () => {
    expect(await bench.scripts.claim(admissionOf().jobId, 'w1')).toEqual({ kind: 'missing' })
    const jobId = await claimed(bench)
    await bench.scripts.finish(jobId, 1, ending)
    expect(await bench.scripts.claim(jobId, 'w1')).toEqual({ kind: 'terminal' })
    expect(await bench.redis.hget(keys.job(jobId), 'epoch')).toBe('1')
  })

  it('ends the job of a key that was revoked meanwhile', async () => {
    const jobId = await admitted(bench)
    await bench.redis.sadd(keys.revoked, 'keyid001')
    expect(await bench.scripts.claim(jobId, 'w1')).toEqual({ kind: 'revoked' })
    const { end } = checkHistory(await readHistory(bench.redis, jobId))
    expect(end).toMatchObject({ status: 'failed', error: { code: 'key_revoked' } })
  })

  it('ends a job that was asked to end while nobody held it', async () => {
    const jobId = await claimed(bench)
    await bench.scripts.cancel(jobId)
    expect(await bench.scripts.claim(jobId, 'w2')).toEqual({ kind: 'cancelled' })
    expect(checkHistory(await readHistory(bench.redis, jobId)).end.status).toBe('cancelled')
    expect(await bench.scripts.append(jobId, 1, 1, token(0))).toMatchObject({ code: 'fenced' })
  })
})

describe('append', () => {
  it('stores entries in order, counts their tokens by channel, and publishes each', async () => {
    const jobId = await claimed(bench)
    const heard: string[] = []
    const listener = bench.server.connect()
    listener.on('message', (_channel: string, message: string) => void heard.push(message))
    await listener.subscribe(channels.live(0))
    const start: LogEntry = { kind: 'start', epoch: 1, fingerprint: 'f', promptTokens: 3 }
    const two: TokenEntry = { ...token(1), tokenIds: [7, 8] }
    const entries = [start, token(0, 'reasoning'), two, token(3)]
    for (const [position, entry] of entries.entries()) {
      expect(await bench.scripts.append(jobId, 1, position + 1, entry)).toEqual(appended)
    }
    expect(await readEntries(bench, jobId)).toEqual(entries)
    await expect.poll(() => heard.length).toBe(4)
    expect(heard[1]).toBe(`${jobId} 2 ${JSON.stringify(token(0, 'reasoning'))}`)
    await bench.scripts.finish(jobId, 1, ending)
    expect(checkHistory(await readHistory(bench.redis, jobId)).end.usage).toEqual({
      promptTokens: 11,
      cachedTokens: 0,
      completionTokens: 4,
      reasoningTokens: 1,
    })
  })

  it('says ok to an entry it has already, and stores it once', async () => {
    const jobId = await claimed(bench)
    await bench.scripts.append(jobId, 1, 1, token(0))
    await bench.scripts.append(jobId, 1, 2, token(1))
    expect(await bench.scripts.append(jobId, 1, 1, token(0))).toEqual(appended)
    expect(await bench.scripts.append(jobId, 1, 2, token(1))).toEqual(appended)
    expect(await readEntries(bench, jobId)).toHaveLength(2)
    expect(await bench.redis.hget(keys.job(jobId), 'completionTokens')).toBe('2')
  })

  it('refuses other content at a place that is taken', async () => {
    const jobId = await claimed(bench)
    await bench.scripts.append(jobId, 1, 1, token(0))
    const forged = { ...token(0), text: 'other' }
    expect(await bench.scripts.append(jobId, 1, 1, forged)).toMatchObject({ code: 'conflict' })
    expect(await readEntries(bench, jobId)).toEqual([token(0)])
  })

  it('refuses a gap between entries, and one between tokens', async () => {
    const jobId = await claimed(bench)
    expect(await bench.scripts.append(jobId, 1, 2, token(0))).toMatchObject({ code: 'gap' })
    expect(await bench.scripts.append(jobId, 1, 1, token(1))).toMatchObject({ code: 'gap' })
    await bench.scripts.append(jobId, 1, 1, token(0))
    expect(await bench.scripts.append(jobId, 1, 2, token(0))).toMatchObject({ code: 'gap' })
    expect(await bench.scripts.append(jobId, 1, 2, token(1))).toEqual(appended)
    expect(await readEntries(bench, jobId)).toHaveLength(2)
  })

  it('counts the tokens of every choice apart', async () => {
    const jobId = await claimed(bench)
    expect(await bench.scripts.append(jobId, 1, 1, token(0))).toEqual(appended)
    expect(await bench.scripts.append(jobId, 1, 2, { ...token(0), choice: 1 })).toEqual(appended)
    expect(await bench.scripts.append(jobId, 1, 3, { ...token(2), choice: 1 })).toMatchObject({ code: 'gap' })
  })

  it('fences the earlier epoch from the claim on, and a later one that nobody was given', async () => {
    const jobId = await claimed(bench)
    await bench.scripts.append(jobId, 1, 1, token(0))
    await bench.scripts.claim(jobId, 'w2')
    expect(await bench.scripts.append(jobId, 1, 1, token(0))).toMatchObject({ code: 'fenced' })
    expect(await bench.scripts.append(jobId, 1, 2, token(1))).toMatchObject({ code: 'fenced' })
    expect(await bench.scripts.append(jobId, 3, 2, token(1))).toMatchObject({ code: 'fenced' })
    expect(await bench.scripts.append(jobId, 2, 2, token(1))).toEqual(appended)
  })

  it('fences everyone before a claim and after an end; a job that is gone is missing', async () => {
    const jobId = await admitted(bench)
    expect(await bench.scripts.append(jobId, 0, 1, token(0))).toMatchObject({ code: 'fenced' })
    await bench.scripts.claim(jobId, 'w1')
    await bench.scripts.finish(jobId, 1, ending)
    expect(await bench.scripts.append(jobId, 1, 2, token(0))).toMatchObject({ code: 'fenced' })
    await bench.redis.del(keys.job(jobId))
    expect(await bench.scripts.append(jobId, 1, 2, token(0))).toMatchObject({ code: 'missing' })
  })

  it('counts nothing of an entry that the log did not take', async () => {
    const jobId = await claimed(bench)
    await bench.redis.xadd(keys.log(jobId), '9-0', 'entry', 'from nowhere')
    const before = await bench.redis.hgetall(keys.job(jobId))
    await expect(bench.scripts.append(jobId, 1, 1, token(0))).rejects.toThrow('equal or smaller')
    expect(await bench.redis.hgetall(keys.job(jobId))).toEqual(before)
  })

  it('tells its writer that the job was asked to end', async () => {
    const jobId = await claimed(bench)
    expect(await bench.scripts.append(jobId, 1, 1, token(0))).toEqual(appended)
    await bench.scripts.cancel(jobId)
    expect(await bench.scripts.append(jobId, 1, 2, token(1))).toEqual({ code: 'ok', isCancelled: true })
  })
})
