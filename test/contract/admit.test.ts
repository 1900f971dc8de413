/** `admit` on a real Redis: what its header guarantees, from both sides of every boundary. */
import { describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { priorityMax, tokensPerPriority } from '../../contract/limits.ts'
import { admissionOf, type AskOptions, firstPriority, plainRequest } from '../fixtures/job-desk.ts'
import { admitted, claimed, ending, scriptBench } from '../fixtures/script-bench.ts'

const bench = scriptBench()

describe('admit', () => {
  it('writes the whole record before anything else knows the job', async () => {
    const admission = admissionOf({ seed: -5n, fairTokens: 200, request: { maxTokens: 9 } })
    expect(await bench.scripts.admit(admission)).toMatchObject({ kind: 'admitted', lane: 0 })
    const claim = await bench.scripts.claim(admission.jobId, 'w1')
    expect(claim).toMatchObject({
      kind: 'claimed',
      record: {
        id: admission.jobId,
        status: 'running',
        tenantId: 'tenant-1',
        model: 'axk1-tiny',
        lane: 0,
        priority: firstPriority,
        tier: 'default',
        seed: -5n,
        epoch: 1,
        entryCount: 0,
        isCancelled: false,
        request: { ...plainRequest, maxTokens: 9 },
      },
    })
    expect(await bench.redis.zcard(keys.open)).toBe(1)
  })

  it('spreads jobs over lanes by load, the lowest index first', async () => {
    const lanes = []
    for (let count = 0; count < 5; count++) {
      const result = await bench.scripts.admit(admissionOf({ laneCount: 3 }))
      lanes.push(result.kind === 'admitted' && result.lane)
    }
    expect(lanes).toEqual([0, 1, 2, 0, 1])
  })

  it('puts a tenant’s second job behind another tenant’s first', async () => {
    const first = await priorityOf({ tenantId: 'a', fairTokens: 1_000 })
    const second = await priorityOf({ tenantId: 'a', fairTokens: 1_000 })
    const other = await priorityOf({ tenantId: 'b', fairTokens: 1_000 })
    expect(first).toBe(firstPriority)
    expect(second).toBe(firstPriority + Math.floor(1_000 / tokensPerPriority))
    expect(other).toBe(firstPriority)
  })

  it('starts a newcomer at the virtual time that claims have reached, not in the past', async () => {
    await admitted(bench, { tenantId: 'a', fairTokens: 6_400 })
    const second = await admitted(bench, { tenantId: 'a', fairTokens: 6_400 })
    await bench.scripts.claim(second, 'w1')
    expect(await priorityOf({ tenantId: 'b' })).toBe(firstPriority + 6_400 / tokensPerPriority)
  })

  it('never gives priority 0, which would jump the queue, nor one above BullMQ’s highest', async () => {
    expect(await priorityOf({ tenantId: 'a', tier: 'priority', fairTokens: 2 ** 40 })).toBe(1)
    expect(await priorityOf({ tenantId: 'a', tier: 'priority' })).toBe(priorityMax)
  })

  it('forgets who was served once the cell is empty', async () => {
    const jobId = await claimed(bench, { tenantId: 'a', fairTokens: 100_000 })
    await bench.scripts.finish(jobId, 1, ending)
    expect(await priorityOf({ tenantId: 'a' })).toBe(firstPriority)
  })

  it('forgets a load that nothing open makes any more', async () => {
    await bench.redis.hset(keys.laneLoad, { 0: 3, 1: -1 })
    expect(await bench.scripts.admit(admissionOf({ laneCount: 2 }))).toMatchObject({ lane: 0 })
    expect(await bench.redis.hgetall(keys.laneLoad)).toEqual({ 0: '1' })
  })

  it('sheds what would be one job too many, and takes what still fits', async () => {
    const openJobsMax = 2
    expect(await bench.scripts.admit(admissionOf({ cell: { openJobsMax } }))).toMatchObject({ kind: 'admitted' })
    expect(await bench.scripts.admit(admissionOf({ cell: { openJobsMax } }))).toMatchObject({ kind: 'admitted' })
    const refused = admissionOf({ cell: { openJobsMax } })
    expect(await bench.scripts.admit(refused)).toMatchObject({ kind: 'full', reason: 'jobs' })
    expect(await bench.redis.exists(keys.job(refused.jobId))).toBe(0)
  })

  it('refuses a revoked key and leaves nothing behind', async () => {
    await bench.redis.sadd(keys.revoked, 'keyid001')
    const refused = admissionOf({ idempotency: { keyDigest: 'k', bodyDigest: 'b' } })
    expect(await bench.scripts.admit(refused)).toEqual({ kind: 'revoked' })
    expect(await bench.redis.exists(keys.job(refused.jobId), keys.idempotency('tenant-1', 'k'))).toBe(0)
    expect(await bench.scripts.admit(admissionOf({ keyId: 'keyid002' }))).toMatchObject({ kind: 'admitted' })
  })

  it('finds the first job again under its idempotency key, also when it ended', async () => {
    const idempotency = { keyDigest: 'k', bodyDigest: 'b' }
    const jobId = await claimed(bench, { idempotency })
    expect(await bench.scripts.admit(admissionOf({ idempotency }))).toMatchObject({ kind: 'replay', jobId })
    await bench.scripts.finish(jobId, 1, ending)
    expect(await bench.scripts.admit(admissionOf({ idempotency }))).toMatchObject({ kind: 'replay', jobId })
    expect(await bench.redis.zcard(keys.open)).toBe(0)
    // Not to a key that may do nothing any more.
    await bench.redis.sadd(keys.revoked, 'keyid001')
    expect(await bench.scripts.admit(admissionOf({ idempotency }))).toEqual({ kind: 'revoked' })
  })

  it('refuses a used idempotency key with another body, and knows no other tenant’s', async () => {
    await admitted(bench, { idempotency: { keyDigest: 'k', bodyDigest: 'b' } })
    const reused = { keyDigest: 'k', bodyDigest: 'other' }
    expect(await bench.scripts.admit(admissionOf({ idempotency: reused }))).toEqual({ kind: 'reused' })
    expect(await bench.scripts.admit(admissionOf({ tenantId: 'tenant-2', idempotency: reused }))).toMatchObject({
      kind: 'admitted',
    })
  })

  it('makes one job of a hundred equal requests at once', async () => {
    const idempotency = { keyDigest: 'k', bodyDigest: 'b' }
    const results = await Promise.all(
      Array.from({ length: 100 }, () => bench.scripts.admit(admissionOf({ idempotency }))),
    )
    expect(results.filter(({ kind }) => kind === 'admitted')).toHaveLength(1)
    expect(results.filter(({ kind }) => kind === 'replay')).toHaveLength(99)
  })
})

async function priorityOf(options: AskOptions): Promise<number> {
  const result = await bench.scripts.admit(admissionOf(options))
  return result.kind === 'admitted' ? result.priority : Number.NaN
}
