/**
 * Keys against the real bundle in workerd: what is no key, what is one no longer, from where it may come, and what is
 * noted of it. Cases 1, 2, 4 and 7.
 */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newKey } from '../../contract/key-format.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { permit } from '../../edge/auth/permission.ts'
import { KeyDatabase, lastUsedEachMs, type StoredKey } from '../../edge/auth/stored-key.ts'
import { startDatabaseDoor, type DatabaseDoorEdge } from '../fixtures/database-door.ts'
import { testPepper } from '../fixtures/edge.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'
import { announce } from '../fixtures/scripted-worker.ts'

const previousPepper = 'the-pepper-before-9876543210-fedcba'
/** For what is refused without I/O, the fastest of several tries: the machine's other work is not on trial. */
const refusalMs = 50
let redis: TestRedis
let edge: DatabaseDoorEdge

beforeAll(async () => {
  redis = await startRedis()
  edge = await startDatabaseDoor(redis.url, {
    settings: { AXLE_PEPPER_ID: 'p2', AXLE_PEPPER_PREVIOUS: previousPepper, AXLE_PEPPER_PREVIOUS_ID: 'p1' },
  })
  await announce(redis.connect())
}, 60_000)
afterAll(async () => {
  await edge.stop()
  await redis.stop()
})

const errorAnswer = z.object({ error: z.object({ code: z.string() }) })

async function codeOf(response: Response): Promise<[number, string | null]> {
  const parsed = errorAnswer.safeParse(await response.json())
  return [response.status, parsed.success ? parsed.data.error.code : null]
}

function withHeaders(headers: Record<string, string>, path = '/v1/models'): Promise<Response> {
  return edge.send(path, { headers })
}

interface Changes {
  readonly expiresAtMs?: number
  readonly revokedAtMs?: number
  readonly ranges?: readonly string[]
  readonly scopes?: readonly string[]
  readonly pepper?: string
  readonly pepperId?: string
}

async function register(changes: Changes = {}): Promise<{ key: string; id: string; headers: Record<string, string> }> {
  const key = newKey('live', randomBytes)
  const id = key.slice(10, 18)
  await edge.database
    .prepare(
      `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms, expires_at_ms,
         revoked_at_ms, ip_allowlist)
       VALUES (?, 'tenant-local', 'live', 'test', ?, ?, ?, 0, ?, ?, ?)`,
    )
    .bind(
      id,
      keyDigest(key, changes.pepper ?? testPepper),
      changes.pepperId ?? 'p2',
      JSON.stringify(changes.scopes ?? ['inference']),
      changes.expiresAtMs ?? null,
      changes.revokedAtMs ?? null,
      changes.ranges === undefined ? null : JSON.stringify(changes.ranges),
    )
    .run()
  return { key, id, headers: { authorization: `Bearer ${key}` } }
}

async function rowOf(id: string): Promise<Record<string, unknown>> {
  return (await edge.database.prepare('SELECT * FROM api_keys WHERE id = ?').bind(id).first()) ?? {}
}

/** Bytes as they are, past what an HTTP client would send. @returns status of the answer, 0 for none. */
function statusOf(headerLines: string): Promise<number> {
  const { hostname, port } = new URL(edge.url)
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(`GET /v1/models HTTP/1.1\r\nhost: x\r\n${headerLines}\r\n\r\n`)
    })
    socket.once('data', (answer) => {
      resolve(Number(answer.toString().split(' ')[1]))
      socket.destroy()
    })
    socket.once('error', () => resolve(0))
    socket.once('close', () => resolve(0))
  })
}

const wellFormed = newKey('live', randomBytes)
const [prefix, check] = [wellFormed.slice(0, -6), wellFormed.slice(-6)]
const malformed: Readonly<Record<string, string>> = {
  'a wrong prefix': wellFormed.replace('axle_', 'sk-'),
  'a kind of no key': wellFormed.replace('live', 'dead'),
  'a missing character': wellFormed.slice(0, -1),
  'a character too many': `${wellFormed}x`,
  'a character outside the alphabet': `${wellFormed.slice(0, 30)}-${wellFormed.slice(31)}`,
  'a wrong checksum': prefix + (check.endsWith('a') ? `${check.slice(0, -1)}b` : `${check.slice(0, -1)}a`),
  'a letter in the other case': swapCase(wellFormed, 20),
}

function swapCase(text: string, from: number): string {
  const at = from + text.slice(from).search(/[a-zA-Z]/)
  const character = text.charAt(at)
  const swapped = character === character.toLowerCase() ? character.toUpperCase() : character.toLowerCase()
  return text.slice(0, at) + swapped + text.slice(at + 1)
}

describe('case 1: no key', () => {
  it.each([
    ['none', {}],
    ['an empty one', { authorization: '' }],
    ['blanks', { authorization: '   ' }],
    ['Basic', { authorization: 'Basic dXNlcjpwYXNz' }],
    ['Bearer without a key', { authorization: 'Bearer ' }],
  ])('case 1: %s is 401 without a look into any store', async (_name, headers) => {
    const before = await edge.storeCalls()
    const response = await fetch(`${edge.url}/v1/models`, { headers })
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe('Bearer')
    expect(await edge.storeCalls()).toEqual(before)
  })

  it('case 1: a key in the query string is none', async () => {
    const before = await edge.storeCalls()
    for (const name of ['api_key', 'key', 'access_token', 'authorization']) {
      const response = await fetch(`${edge.url}/v1/models?${name}=${edge.tenantKey}`)
      expect(await codeOf(response)).toEqual([401, 'missing_api_key'])
    }
    expect(await edge.storeCalls()).toEqual(before)
  })

  it('case 1: two keys are 400, sent in one header or in two', async () => {
    const before = await edge.storeCalls()
    const two = [`Bearer ${edge.tenantKey}`, `Bearer ${wellFormed}`]
    expect(await codeOf(await withHeaders({ authorization: two.join(', ') }))).toEqual([400, 'invalid_value'])
    expect(await statusOf(two.map((line) => `authorization: ${line}`).join('\r\n'))).toBe(400)
    expect(await edge.storeCalls()).toEqual(before)
  })
})

describe('case 2: what is no key of ours', () => {
  it.each(Object.entries(malformed))('case 2: %s is the same 401 as an unknown key, unread', async (_name, key) => {
    const unknown = await withHeaders({ authorization: `Bearer ${newKey('live', randomBytes)}` })
    const before = await edge.storeCalls()
    const response = await withHeaders({ authorization: `Bearer ${key}` })
    expect([response.status, await response.text()]).toEqual([401, await unknown.text()])
    expect(await edge.storeCalls()).toEqual(before)
  })

  it('one of the other kind with the same id and secret is unknown', async () => {
    const asAdmin = edge.tenantKey.replace('live', 'admin')
    expect(await codeOf(await withHeaders({ authorization: `Bearer ${asAdmin}` }))).toEqual([401, 'invalid_api_key'])
  })
})

describe('case 4: hostile keys', () => {
  const canary = 'canary-9d1e'
  const hostile = [
    `' OR pg_sleep(8)--${canary}`,
    `${canary}'); DROP TABLE api_keys;--`,
    `{axle}:revoked ${canary}`,
    `redis.call('FLUSHALL')--${canary}`,
    `$\{jndi:ldap://x/${canary}}`,
    `../../${canary}`,
    `%00${canary}`,
    `${canary}${'x'.repeat(60_000)}`,
    `${wellFormed.slice(0, 19)}${canary}`,
  ]

  it.each(hostile.map((key) => [key.slice(0, 40), key]))(
    'case 4: Bearer %j… is refused fast, unread',
    async (_, key) => {
      const before = await edge.storeCalls()
      const tookMs = []
      for (let i = 0; i < 5; i++) {
        const beganAtMs = performance.now()
        expect([401, 431]).toContain(await statusOf(`authorization: Bearer ${key}`))
        tookMs.push(performance.now() - beganAtMs)
      }
      expect(Math.min(...tookMs)).toBeLessThan(refusalMs)
      expect(await edge.storeCalls()).toEqual(before)
    },
  )

  it.each([`a\0${canary}`, `a\u007f${canary}`, 'x'.repeat(2 ** 20)])(
    'case 4: %# what no header may hold is refused, and the gateway lives',
    async (key) => {
      expect([0, 400, 401, 431]).toContain(await statusOf(`authorization: Bearer ${key}`))
      expect((await withHeaders({})).status).toBe(200)
    },
  )

  it('case 4: nothing of a key is logged, known or not, also where the store fails', async () => {
    const stranger = newKey('live', randomBytes)
    await edge.setDatabase('failing')
    expect(await codeOf(await withHeaders({ authorization: `Bearer ${stranger}` }))).toEqual([503, 'auth_unavailable'])
    await edge.setDatabase('open')
    const isBack = async () => (await withHeaders((await register()).headers)).status
    await expect.poll(isBack, { timeout: 5_000 }).toBe(200)
    await expect.poll(() => edge.logs.join('\n')).toContain('key-lookup-failed')
    const logged = edge.logs.join('\n')
    const secrets = [stranger, wellFormed, edge.tenantKey, edge.adminKey].map((key) => key.slice(19))
    for (const secret of [canary, testPepper, previousPepper, ...secrets]) expect(logged).not.toContain(secret)
    expect(logged).not.toContain(keyDigest(stranger, testPepper))
  })
})

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
    const { headers } = await register({ expiresAtMs: Date.now() + 1_000 })
    expect((await withHeaders(headers)).status).toBe(200)
    await expect.poll(async () => codeOf(await withHeaders(headers)), { timeout: 2_000 }).toEqual([401, 'key_expired'])
    const past = await register({ expiresAtMs: Date.now() - 1_000 })
    expect(await codeOf(await withHeaders(past.headers))).toEqual([401, 'key_expired'])
  })

  it('a revoked key is told so, whatever else it is', async () => {
    const { headers } = await register({ expiresAtMs: 1, revokedAtMs: 1, ranges: [] })
    expect(await codeOf(await withHeaders(headers))).toEqual([401, 'key_revoked'])
  })

  it('a key of an archived project counts as revoked', async () => {
    const { id, headers } = await register()
    await edge.database.exec(
      "INSERT INTO tenants (id, name, created_at_ms, archived_at_ms) VALUES ('gone', 'Gone', 0, 1)",
    )
    await edge.database.prepare("UPDATE api_keys SET tenant_id = 'gone' WHERE id = ?").bind(id).run()
    expect(await codeOf(await withHeaders(headers))).toEqual([401, 'key_revoked'])
  })
})

describe('an allow-list of addresses', () => {
  it('lets in what it holds and nobody else', async () => {
    const { headers } = await register({ ranges: ['198.51.100.0/24', '2001:db8::/32'] })
    const from = (address: string) => withHeaders({ ...headers, 'cf-connecting-ip': address })
    for (const address of ['198.51.100.255', '2001:db8::1']) expect((await from(address)).status).toBe(200)
    for (const address of ['198.51.101.0', '2001:db9::1', 'nonsense']) {
      expect(await codeOf(await from(address))).toEqual([401, 'ip_not_authorized'])
    }
    expect(await codeOf(await withHeaders(headers))).toEqual([401, 'ip_not_authorized'])
  })

  it('is not opened by what a client says of itself', async () => {
    const { headers } = await register({ ranges: ['198.51.100.1'] })
    const claims = { 'x-forwarded-for': '198.51.100.1', 'x-real-ip': '198.51.100.1', forwarded: 'for=198.51.100.1' }
    expect((await withHeaders({ ...headers, ...claims })).status).toBe(401)
  })
})

describe('the last use of a key', () => {
  it('is noted behind the answer, and not again within the minute', async () => {
    const { id, headers } = await register()
    const beganAtMs = Date.now()
    await withHeaders(headers)
    const noted = async () => Number((await rowOf(id))['last_used_at_ms'])
    await expect.poll(noted).toBeGreaterThanOrEqual(beganAtMs)
    const [first, before] = [await noted(), await edge.storeCalls()]
    for (let i = 0; i < 5; i++) await withHeaders(headers)
    expect(await noted()).toBe(first)
    expect((await edge.storeCalls()).database).toBe(before.database)
  })

  it('is written once a minute by however many isolates, and never goes back', async () => {
    const { id } = await register()
    const database = new KeyDatabase(edge.database)
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
    const { id, headers } = await register({ scopes: ['usage'] })
    expect(await codeOf(await withHeaders(headers))).toEqual([403, 'insufficient_scope'])
    await withHeaders((await register()).headers)
    expect((await rowOf(id))['last_used_at_ms']).toBe(null)
  })
})

describe('the previous pepper', () => {
  it('still opens, once: behind the answer the digest is made anew under the current one', async () => {
    const { key, id, headers } = await register({ pepper: previousPepper, pepperId: 'p1' })
    expect((await withHeaders(headers)).status).toBe(200)
    const renewed = { digest: keyDigest(key, testPepper), pepper_id: 'p2' }
    await expect.poll(() => rowOf(id)).toMatchObject(renewed)
    expect((await withHeaders(headers)).status).toBe(200)
  })

  it('opens nothing under another id, nor does the current one under the previous id', async () => {
    for (const changes of [{ pepper: previousPepper, pepperId: 'p0' }, { pepperId: 'p1' }]) {
      expect(await codeOf(await withHeaders((await register(changes)).headers))).toEqual([401, 'invalid_api_key'])
    }
  })
})
