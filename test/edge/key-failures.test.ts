/** Case 3: who tries keys. What it costs the stores is bounded by address, and who has a key never pays for it. */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { newKey } from '../../contract/key-format.ts'
import { FailureBudget, failuresMax, failureWindowMs } from '../../edge/auth/failure-budget.ts'
import { startDatabaseDoor } from '../fixtures/database-door.ts'
import { edgeBench } from '../fixtures/edge-bench.ts'
import { announce } from '../fixtures/scripted-worker.ts'

const bench = edgeBench(async (redis) => {
  const edge = await startDatabaseDoor(redis.url)
  await announce(redis.connect())
  return edge
})

function from(address: string, key = newKey('live', randomBytes)): Promise<Response> {
  return bench.edge.send('/v1/models', { headers: { authorization: `Bearer ${key}`, 'cf-connecting-ip': address } })
}

async function spend(addressOf: (i: number) => string): Promise<void> {
  for (let i = 0; i < failuresMax; i++) expect((await from(addressOf(i))).status).toBe(401)
}

describe('case 3: well-formed but unknown keys', () => {
  it('case 3: are 401 so many times, then 429 with a Retry-After, and D1 is not asked', async () => {
    await spend(() => '203.0.113.7')
    const before = await bench.edge.storeCalls()
    const refused = await from('203.0.113.7')
    const body: { error: { code: string; message: string } } = await refused.json()
    expect([refused.status, body.error.code]).toEqual([429, 'rate_limit_exceeded'])
    expect(refused.headers.get('x-should-retry')).toBe('true')
    const waitSeconds = Number(refused.headers.get('retry-after'))
    expect(waitSeconds).toBeGreaterThan(0)
    expect(waitSeconds).toBeLessThanOrEqual(failureWindowMs / 1_000)
    expect(body.error.message).not.toContain('203.0.113.7')
    expect(await bench.edge.storeCalls()).toEqual(before)
  })

  it('case 3: from one address are nothing to another, nor to a known key from the same', async () => {
    expect((await from('203.0.113.9', bench.edge.tenantKey)).status).toBe(200)
    await spend(() => '203.0.113.8')
    expect((await from('203.0.113.8')).status).toBe(429)
    expect((await from('203.0.113.9')).status).toBe(401)
    expect((await from('203.0.113.8', bench.edge.tenantKey)).status).toBe(200)
  })

  it('case 3: of a whole IPv6 network count as one client’s', async () => {
    await spend((i) => `2001:db8::${i.toString(16)}`)
    expect((await from('2001:db8::ffff')).status).toBe(429)
    expect((await from('2001:db8:0:1::')).status).toBe(401)
  })

  it('a malformed key costs nobody anything and counts for nothing', async () => {
    for (let i = 0; i <= failuresMax; i++) expect((await from('203.0.113.10', 'axle_live_x')).status).toBe(401)
    expect((await from('203.0.113.10')).status).toBe(401)
  })
})

describe('FailureBudget', () => {
  it('tells the wait that helps, to the millisecond', () => {
    const budget = new FailureBudget()
    for (let i = 0; i < failuresMax; i++) {
      expect(budget.waitMs('a', 1_000 + i)).toBe(0)
      budget.spend('a', 1_000 + i)
    }
    expect(budget.waitMs('a', 1_000 + failuresMax)).toBe(failureWindowMs - failuresMax)
    expect(budget.waitMs('a', 1_000 + failureWindowMs - 1)).toBe(1)
    expect(budget.waitMs('a', 1_000 + failureWindowMs)).toBe(0)
    budget.spend('a', 1_000 + failureWindowMs)
    expect(budget.waitMs('a', 1_000 + failureWindowMs)).toBe(0)
  })

  it('holds a bounded number of addresses, the latest', () => {
    const budget = new FailureBudget()
    const isSpent = (address: string) => budget.waitMs(address, 0) > 0
    for (let i = 0; i < 10_000; i++) for (let n = 0; n < failuresMax; n++) budget.spend(`address-${i}`, 0)
    expect([isSpent('address-0'), isSpent('address-9999')]).toEqual([false, true])
  })
})
