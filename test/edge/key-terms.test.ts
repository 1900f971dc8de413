/**
 * Keys against the real bundle in workerd: until when a key is one, from where it may come, what is noted of it, and under
 * which pepper it is stored. Case 7.
 */
import { describe, expect, it } from 'vitest'
import { keyDigest } from '../../edge/auth/digest.ts'
import { permit } from '../../edge/auth/permission.ts'
import { KeyDatabase, lastUsedEachMs, type StoredKey } from '../../edge/auth/stored-key.ts'
import { startDatabaseDoor } from '../fixtures/database-door.ts'
import { edgeBench } from '../fixtures/edge-bench.ts'
import { testPepper } from '../fixtures/edge.ts'
import { announce } from '../fixtures/scripted-worker.ts'
import { codeOf, plantKey, type KeyTerms } from '../fixtures/stored-keys.ts'

const previousPepper = 'the-pepper-before-9876543210-fedcba'

const bench = edgeBench(async (redis) => {
  const edge = await startDatabaseDoor(redis.url, {
    settings: { AXLE_PEPPER_ID: 'p2', AXLE_PEPPER_PREVIOUS: previousPepper, AXLE_PEPPER_PREVIOUS_ID: 'p1' },
  })
  await announce(redis.connect())
  return edge
})

function withHeaders(headers: Readonly<Record<string, string>>): Promise<Response> {
  return bench.edge.send('/v1/models', { headers })
}

function plant(terms: KeyTerms = {}) {
  return plantKey(bench.edge, { pepperId: 'p2', ...terms })
}

async function rowOf(id: string): Promise<Record<string, unknown>> {
  return (await bench.edge.database.prepare('SELECT * FROM api_keys WHERE id = ?').bind(id).first()) ?? {}
}

describe('case 7: expiry', () => {
  const expiresAtMs = 1_800_000_000_000
  const stored: StoredKey = {
    id: 'keyid001',
    kind: 'live',
    pepperId: 'p2',
    scopes: ['inference'],
    models: null,
    ipRanges: null,
    expiresAtMs,
    revokedAtMs: null,
    tenant: null,
  }
  const admin: StoredKey = { ...stored, kind: 'admin' }

  it('case 7: a key serves until the second and the millisecond before its end, and not at it', () => {
    for (const beforeMs of [1_000, 1]) expect(permit(admin, 'admin', null, expiresAtMs - beforeMs).kind).toBe('admin')
    for (const afterMs of [0, 1, 1_000]) {
      expect(() => permit(admin, 'admin', null, expiresAtMs + afterMs)).toThrow(
        expect.objectContaining({ code: 'key_expired', status: 401, shouldRetry: false }),
      )
    }
  })

  it('case 7: over HTTP, also where the key is remembered', async () => {
    const { headers } = await plant({ expiresAtMs: Date.now() + 1_000 })
    expect((await withHeaders(headers)).status).toBe(200)
    await expect.poll(async () => codeOf(await withHeaders(headers)), { timeout: 2_000 }).toEqual([401, 'key_expired'])
    const past = await plant({ expiresAtMs: Date.now() - 1_000 })
    expect(await codeOf(await withHeaders(past.headers))).toEqual([401, 'key_expired'])
  })

  it('a revoked key is told so, whatever else it is', async () => {
    const { headers } = await plant({ expiresAtMs: 1, revokedAtMs: 1, ranges: [] })
    expect(await codeOf(await withHeaders(headers))).toEqual([401, 'key_revoked'])
  })

  it('a key of an archived project counts as revoked', async () => {
    const { id, headers } = await plant()
    await bench.edge.database.exec(
      "INSERT INTO tenants (id, name, created_at_ms, archived_at_ms) VALUES ('gone', 'Gone', 0, 1)",
    )
    await bench.edge.database.prepare("UPDATE api_keys SET tenant_id = 'gone' WHERE id = ?").bind(id).run()
    expect(await codeOf(await withHeaders(headers))).toEqual([401, 'key_revoked'])
  })
})

describe('an allow-list of addresses', () => {
  it('lets in what it holds and nobody else', async () => {
    const { headers } = await plant({ ranges: ['198.51.100.0/24', '2001:db8::/32'] })
    const from = (address: string) => withHeaders({ ...headers, 'cf-connecting-ip': address })
    for (const address of ['198.51.100.255', '2001:db8::1']) expect((await from(address)).status).toBe(200)
    for (const address of ['198.51.101.0', '2001:db9::1', 'nonsense']) {
      expect(await codeOf(await from(address))).toEqual([401, 'ip_not_authorized'])
    }
    expect(await codeOf(await withHeaders(headers))).toEqual([401, 'ip_not_authorized'])
  })

  it('is not opened by what a client says of itself', async () => {
    const { headers } = await plant({ ranges: ['198.51.100.1'] })
    const claims = { 'x-forwarded-for': '198.51.100.1', 'x-real-ip': '198.51.100.1', forwarded: 'for=198.51.100.1' }
    expect((await withHeaders({ ...headers, ...claims })).status).toBe(401)
  })
})

describe('the last use of a key', () => {
  it('is noted behind the answer, and not again within the minute', async () => {
    const { id, headers } = await plant()
    const beganAtMs = Date.now()
    await withHeaders(headers)
    const noted = async () => Number((await rowOf(id))['last_used_at_ms'])
    await expect.poll(noted).toBeGreaterThanOrEqual(beganAtMs)
    const [first, before] = [await noted(), await bench.edge.storeCalls()]
    for (let i = 0; i < 5; i++) await withHeaders(headers)
    expect(await noted()).toBe(first)
    expect((await bench.edge.storeCalls()).database).toBe(before.database)
  })

  it('is written once a minute by however many isolates, and never goes back', async () => {
    const { id } = await plant()
    const database = new KeyDatabase(bench.edge.database)
    const atMs = 1_000_000
    for (const [sinceMs, expected] of [
      [0, 0],
      [lastUsedEachMs - 1, 0],
      [lastUsedEachMs, lastUsedEachMs],
      [lastUsedEachMs - 1, lastUsedEachMs],
    ] as const) {
      await database.noteUse(id, atMs + sinceMs)
      expect((await rowOf(id))['last_used_at_ms']).toBe(atMs + expected)
    }
  })

  it('is not noted of a key that was refused', async () => {
    const { id, headers } = await plant({ scopes: ['usage'] })
    expect(await codeOf(await withHeaders(headers))).toEqual([403, 'insufficient_scope'])
    await withHeaders((await plant()).headers)
    expect((await rowOf(id))['last_used_at_ms']).toBe(null)
  })
})

describe('the previous pepper', () => {
  it('still opens, once: behind the answer the digest is made anew under the current one', async () => {
    const { text, id, headers } = await plant({ pepper: previousPepper, pepperId: 'p1' })
    expect((await withHeaders(headers)).status).toBe(200)
    const renewed = { digest: keyDigest(text, testPepper), pepper_id: 'p2' }
    await expect.poll(() => rowOf(id)).toMatchObject(renewed)
    expect((await withHeaders(headers)).status).toBe(200)
  })

  it('opens nothing under another id, nor does the current one under the previous id', async () => {
    for (const changes of [{ pepper: previousPepper, pepperId: 'p0' }, { pepperId: 'p1' }]) {
      expect(await codeOf(await withHeaders((await plant(changes)).headers))).toEqual([401, 'invalid_api_key'])
    }
  })
})
