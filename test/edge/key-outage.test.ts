/**
 * Case 13: keys while D1 is away. Whoever is known is served as long as Redis can say that the key is not revoked, an hour
 * at most; of anybody else nobody can tell. The gateway runs in workerd; the hour is a clock of the test's own.
 */
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { newKey } from '../../contract/key-format.ts'
import { keys } from '../../contract/keys.ts'
import { keyFreshMs, keyStaleMaxMs, revocationBudgetMs } from '../../contract/limits.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { KeyStore, type KeySource } from '../../edge/auth/store.ts'
import { KeyDatabase } from '../../edge/auth/stored-key.ts'
import { startDatabaseDoor } from '../fixtures/database-door.ts'
import { edgeBench } from '../fixtures/edge-bench.ts'
import { testPepper } from '../fixtures/edge.ts'
import { announce } from '../fixtures/scripted-worker.ts'
import { plantKey } from '../fixtures/stored-keys.ts'

/** An outage must be told before a client's own patience ends. */
const failFastMs = 2_500
const healMs = 5_000

const bench = edgeBench(async (redis) => {
  const edge = await startDatabaseDoor(redis.url)
  await announce(redis.connect())
  return edge
})
afterEach(() => bench.edge.setDatabase('open'))

const unknown = { headers: { authorization: `Bearer ${newKey('live', randomBytes)}` } }

async function outcome(response: Response): Promise<[number, string | null]> {
  const body: { error?: { code: string } } = await response.json()
  return [response.status, body.error?.code ?? null]
}

/** A route that asks no other store: behind the door it is 405. */
function probe(init: RequestInit = {}): Promise<Response> {
  return bench.edge.send('/v1/models', { method: 'DELETE', ...init })
}
const served = [405, 'method_not_allowed']

/** Polls as a client does. @returns the time it took. */
async function becomes(status: number, init: RequestInit = {}, withinMs = healMs): Promise<number> {
  const beganAtMs = performance.now()
  for (;;) {
    const response = await probe(init)
    await response.text()
    const tookMs = performance.now() - beganAtMs
    if (response.status === status) return tookMs
    if (tookMs > withinMs) throw new Error(`Still ${response.status} after ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

describe('case 13: D1 away', () => {
  it.each(['failing', 'silent'] as const)(
    'case 13: %s: a known key is served, an unknown one is a fast 503 and no 401, both recover unaided',
    async (door) => {
      await becomes(405)
      await bench.edge.setDatabase(door)
      // Until then nobody is asked.
      await new Promise((resolve) => setTimeout(resolve, keyFreshMs))
      for (const [init, expected] of [
        [{}, served],
        [unknown, [503, 'auth_unavailable']],
      ] as const) {
        const askedAtMs = performance.now()
        const response = await probe(init)
        expect(await outcome(response)).toEqual(expected)
        expect(performance.now() - askedAtMs).toBeLessThan(failFastMs)
        expect(response.headers.get('retry-after')).toBe(expected[0] === 503 ? '1' : null)
      }
      await bench.edge.setDatabase('open')
      await becomes(401, unknown)
      await becomes(405)
    },
  )

  it('case 13: a known key that is revoked in Redis is refused within the budget', async () => {
    const victim = await plantKey(bench.edge)
    await becomes(405, victim)
    await bench.edge.setDatabase('failing')
    await bench.redis.connect().sadd(keys.revoked, victim.id)
    expect(await becomes(401, victim, 2 * revocationBudgetMs)).toBeLessThan(revocationBudgetMs)
    expect(await outcome(await probe(victim))).toEqual([401, 'key_revoked'])
  })

  it('case 13: without Redis, too, nobody can tell of anyone, until either is back', async () => {
    await becomes(405)
    await bench.edge.setDatabase('failing')
    await bench.redis.kill()
    const askedAtMs = performance.now()
    await becomes(503, {}, 2 * keyFreshMs)
    expect(performance.now() - askedAtMs).toBeLessThan(keyFreshMs + failFastMs)
    expect(await outcome(await probe())).toEqual([503, 'auth_unavailable'])
    await bench.redis.start()
    await announce(bench.redis.connect())
    await becomes(405)
  })

  it('a revocation in D1 alone is seen within the budget', async () => {
    const victim = await plantKey(bench.edge)
    await becomes(405, victim)
    await bench.edge.database.prepare('UPDATE api_keys SET revoked_at_ms = 1 WHERE id = ?').bind(victim.id).run()
    expect(await becomes(401, victim, 2 * revocationBudgetMs)).toBeLessThan(revocationBudgetMs)
  })
})

/** The store of one isolate over the real D1, with a clock of the test's own. */
async function stage() {
  const database = new KeyDatabase(bench.edge.database)
  const { id, text: key } = await plantKey(bench.edge)
  const at = { nowMs: 1_000_000, isAway: false, isEmpty: false, isRevoked: false, databaseCalls: 0, redisCalls: 0 }
  const store = new KeyStore(() => at.nowMs)
  const source: KeySource = {
    database: {
      keyRow: (digests) => {
        at.databaseCalls += 1
        if (at.isEmpty) return Promise.resolve({ row: null })
        return at.isAway ? Promise.reject(new Error('away')) : database.keyRow(digests)
      },
    },
    isRevoked: (ids) => {
      at.redisCalls += 1
      return Promise.resolve(at.isRevoked && ids.includes(id))
    },
  }
  const find = async (text = key) => {
    try {
      return (await store.find([{ digest: keyDigest(text, testPepper), pepperId: 'p1' }], source)) ?? 'unknown'
    } catch (error) {
      return error instanceof Error ? error.message : 'failed'
    }
  }
  return { at, find, id, store, key }
}

describe('KeyStore.find()', () => {
  const cannotTell = expect.stringContaining('cannot be checked')

  it('asks nobody while an answer is fresh, and D1 as soon as it is not', async () => {
    const { at, find, id } = await stage()
    const beganAtMs = at.nowMs
    for (const nowMs of [0, keyFreshMs - 1, keyFreshMs]) {
      at.nowMs = beganAtMs + nowMs
      expect(await find()).toMatchObject({ id })
      expect(at.databaseCalls).toBe(nowMs === keyFreshMs ? 2 : 1)
    }
    const stranger = newKey('live', randomBytes)
    expect([await find(stranger), await find(stranger)]).toEqual(['unknown', 'unknown'])
    expect(at).toMatchObject({ databaseCalls: 3, redisCalls: 0 })
  })

  it('case 13: serves a known key for an hour after D1 last told it, to the millisecond', async () => {
    const { at, find, id } = await stage()
    const readAtMs = at.nowMs
    await find()
    at.isAway = true
    for (at.nowMs += keyFreshMs; at.nowMs <= readAtMs + keyStaleMaxMs; at.nowMs += keyFreshMs) {
      if ((await find()) === 'unknown' || at.redisCalls === 0) throw new Error('A known key was not looked after')
    }
    const asked = keyStaleMaxMs / keyFreshMs
    expect([at.databaseCalls, at.redisCalls]).toEqual([asked + 1, asked])
    at.nowMs = readAtMs + keyStaleMaxMs + keyFreshMs
    expect(await find()).toEqual(cannotTell)
    at.isAway = false
    at.nowMs += 1_000
    expect(await find()).toMatchObject({ id })
  })

  it('case 13: leaves D1 alone for a second after a failure, then one request asks, and all do as soon as it answered', async () => {
    const { at, find } = await stage()
    await find()
    at.isAway = true
    at.nowMs += keyFreshMs
    await Promise.all(Array.from({ length: 10 }, () => find()))
    const before = at.databaseCalls
    at.nowMs += 999
    await find(newKey('live', randomBytes))
    expect(at.databaseCalls).toBe(before)
    at.nowMs += 1
    const strangers = Array.from({ length: 10 }, () => find(newKey('live', randomBytes)))
    expect(await Promise.all(strangers)).toEqual(strangers.map(() => cannotTell))
    expect(at.databaseCalls).toBe(before + 1)
    at.isAway = false
    at.nowMs += 1_000
    expect([await find(newKey('live', randomBytes)), await find(newKey('live', randomBytes))]).toEqual([
      'unknown',
      'unknown',
    ])
  })

  it('case 13: what Redis says of a key holds as long as what D1 says: revoked at once, served until it is asked again', async () => {
    const { at, find } = await stage()
    await find()
    Object.assign(at, { isAway: true, nowMs: at.nowMs + keyFreshMs })
    expect(await find()).toMatchObject({ revokedAtMs: null })
    at.isRevoked = true
    at.nowMs += keyFreshMs - 1
    expect(await find()).toMatchObject({ revokedAtMs: null })
    at.nowMs += 1
    expect(await find()).toMatchObject({ revokedAtMs: at.nowMs })
  })

  it('known keys are not pushed out by those that are tried', async () => {
    const { at, find, store, key } = await stage()
    await find()
    at.isEmpty = true
    for (let i = 0; i < 2 * 4_096; i++) await find(newKey('live', randomBytes))
    expect(store.knows(keyDigest(key, testPepper))).toBe(true)
  })
})
