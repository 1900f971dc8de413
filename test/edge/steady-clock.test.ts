/** A gateway whose clock is set back by an hour, in what it keeps for a while: keys, the absence of D1, addresses that wait. */
import { expect, it } from 'vitest'
import { keyFreshMs } from '../../contract/limits.ts'
import { FailureBudget, failuresMax, failureWindowMs } from '../../edge/auth/failure-budget.ts'
import { KeyStore, type KeySource } from '../../edge/auth/store.ts'
import { steadyClock } from '../../edge/steady-clock.ts'

const hourMs = 3_600_000
const restMs = 1_000
const digests = [{ digest: 'd', pepperId: 'p1' }] as const
const keyRow = {
  id: 'keyid001',
  tenantId: null,
  kind: 'admin',
  pepperId: 'p1',
  scopes: '[]',
  models: null,
  ipRanges: null,
  expiresAtMs: null,
  revokedAtMs: null,
}

/** @param clockOf what the store makes of the gateway's clock. */
function stage(clockOf: (wallNow: () => number) => () => number) {
  const at = { wallMs: 1_800_000_000_000, isAway: false, askedCount: 0 }
  const source: KeySource = {
    database: {
      keyRow: () => {
        at.askedCount += 1
        return at.isAway ? Promise.reject(new Error('away')) : Promise.resolve({ row: keyRow })
      },
    },
    isRevoked: () => Promise.resolve(false),
  }
  const now = clockOf(() => at.wallMs)
  const store = new KeyStore(now)
  return { at, now, find: () => store.find([...digests], source) }
}

it('case 42: a key is asked about again in time, so that its revocation is seen', async () => {
  const { at, find } = stage(steadyClock)
  await find()
  at.wallMs -= hourMs
  await find()
  expect(at.askedCount).toBe(1)
  at.wallMs += keyFreshMs
  await find()
  expect(at.askedCount).toBe(2)
})

it('case 42: a D1 that was away is asked again in time', async () => {
  const { at, find } = stage(steadyClock)
  at.isAway = true
  await expect(find()).rejects.toMatchObject({ code: 'auth_unavailable' })
  Object.assign(at, { isAway: false, wallMs: at.wallMs - hourMs })
  await expect(find()).rejects.toMatchObject({ code: 'auth_unavailable' })
  at.wallMs += restMs
  expect(await find()).toMatchObject({ id: 'keyid001' })
})

it('case 42: an address that tried too many keys waits a minute, not an hour', () => {
  const { at, now } = stage(steadyClock)
  const budget = new FailureBudget()
  for (let i = 0; i < failuresMax; i++) budget.spend('a', now())
  at.wallMs -= hourMs
  expect(budget.waitMs('a', now())).toBe(failureWindowMs)
  at.wallMs += failureWindowMs
  expect(budget.waitMs('a', now())).toBe(0)
})

it('case 42: with the wall clock itself the key would be kept for the hour (negative control)', async () => {
  const { at, find } = stage((wallNow) => wallNow)
  await find()
  at.wallMs -= hourMs
  for (let i = 0; i < 10; i++) {
    at.wallMs += keyFreshMs
    await find()
  }
  expect(at.askedCount).toBe(1)
})

it('steadyClock() counts a jump ahead, and of one back nothing', () => {
  let wallMs = 1_000
  const now = steadyClock(() => wallMs)
  const seen = [5, -3_000, 7, 600_000].map((jumpMs) => {
    wallMs += jumpMs
    return now()
  })
  expect(seen).toEqual([1_005, 1_005, 1_012, 601_012])
})
