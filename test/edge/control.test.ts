/** What a Broker does besides jobs, on a real Redis: revocations bite, rows are drained once and money is told. */
import { describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { obey } from '../../edge/broker/control.ts'
import { admissionOf } from '../fixtures/job-desk.ts'
import { admitted, claimed, ending, scriptBench } from '../fixtures/script-bench.ts'

const bench = scriptBench()
const price = { inputMicro: 1_000_000, cachedInputMicro: 500_000, outputMicro: 3_000_000 }

async function rows() {
  const answer = await obey(bench.redis, { kind: 'usage-page', rowsMax: 10 })
  return 'rows' in answer ? answer.rows : []
}

describe('obey()', () => {
  it('revoke: nothing of that key, nor of that tenant, is admitted', async () => {
    await obey(bench.redis, { kind: 'revoke', ids: ['keyid001', 'tenant-9'] })
    expect(await bench.scripts.admit(admissionOf())).toEqual({ kind: 'revoked' })
    expect(await bench.scripts.admit(admissionOf({ keyId: 'k', tenantId: 'tenant-9' }))).toEqual({ kind: 'revoked' })
    expect(await obey(bench.redis, { kind: 'is-revoked', ids: ['x', 'tenant-9'] })).toEqual({ revoked: true })
    expect(await obey(bench.redis, { kind: 'is-revoked', ids: ['x'] })).toEqual({ revoked: false })
    await obey(bench.redis, { kind: 'forget-revoked', ids: ['keyid001', 'x'] })
    expect(await bench.redis.smembers(keys.revoked)).toEqual(['tenant-9'])
  })

  it('usage-page tells each ended job with its cost until it is acknowledged', async () => {
    const jobId = await claimed(bench, { price })
    await bench.scripts.finish(jobId, 1, { ...ending, promptTokens: 11, cachedTokens: 3 })
    const page = await rows()
    expect(page).toMatchObject([
      {
        jobId,
        tenantId: 'tenant-1',
        tier: 'default',
        status: 'completed',
        isThinking: false,
        inputTokens: 11,
        cachedTokens: 3,
        outputTokens: 0,
        inputNano: 8_000,
        cachedNano: 1_500,
        outputNano: 0,
      },
    ])
    expect(await rows()).toEqual(page)
    await obey(bench.redis, { kind: 'usage-ack', streamIds: page.map((row) => row.streamId) })
    expect(await rows()).toEqual([])
  })

  it('usage-page sets a row aside that it cannot read, and goes on', async () => {
    await bench.redis.xadd(keys.usage, '*', 'jobId', 'broken')
    const jobId = await claimed(bench)
    await bench.scripts.finish(jobId, 1, ending)
    expect(await rows()).toMatchObject([{ jobId }])
    expect(await bench.redis.xlen(keys.unreadableUsage)).toBe(1)
    expect(await bench.redis.xlen(keys.usage)).toBe(1)
  })

  it('spend: zeros for a stranger, then what is spent and reserved', async () => {
    const spend = () => obey(bench.redis, { kind: 'spend', tenantId: 'tenant-1' })
    expect(await spend()).toEqual({ month: 0, spentNano: 0, reservedNano: 0 })
    await admitted(bench, { price: { inputMicro: 0, cachedInputMicro: 0, outputMicro: 1_000 }, fairTokens: 10 })
    expect(await spend()).toMatchObject({ spentNano: 0, reservedNano: 5 })
  })

  it('count adds up', async () => {
    for (const added of [2, 3]) await obey(bench.redis, { kind: 'count', counters: { 'refused:x': added } })
    expect(await bench.redis.hgetall(keys.gateway)).toEqual({ 'refused:x': '5' })
  })
})
