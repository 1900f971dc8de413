/** Case 12: the deployment's secret makes the first admin key, once; a weak one serves nobody. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { text } from 'node:stream/consumers'
import { afterEach, beforeAll, afterAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newKey, parseKey } from '../../contract/key-format.ts'
import { SettingsError } from '../../edge/settings.ts'
import { startTestEdge, testPepper, type TestEdge } from '../fixtures/edge.ts'
import { freePort, startRedis, type TestRedis } from '../fixtures/redis.ts'

const secret = randomBytes(32).toString('base64')
const path = '/v1/organization/bootstrap'
let redis: TestRedis
let edge: TestEdge

beforeAll(async () => {
  redis = await startRedis()
}, 60_000)
afterAll(() => redis.stop())

const made = z.strictObject({
  id: z.string(),
  object: z.literal('organization.admin_api_key'),
  name: z.string(),
  redacted_value: z.string(),
  value: z.string(),
  created_at: z.number(),
  expires_at: z.null(),
  last_used_at: z.null(),
  owner: z.record(z.string(), z.string()),
})

function ask(authorization: string | null, headers: Record<string, string> = {}): Promise<Response> {
  const sent = authorization === null ? headers : { ...headers, authorization }
  return fetch(edge.url + path, { method: 'POST', headers: { 'cf-connecting-ip': '203.0.113.9', ...sent } })
}

async function rows(sql: string): Promise<Record<string, unknown>[]> {
  return (await edge.database.prepare(sql).all()).results
}

async function refusalOf(response: Response): Promise<[number, string]> {
  const body: { error: { code: string } } = await response.json()
  return [response.status, body.error.code]
}

describe('case 12: the bootstrap secret', () => {
  beforeEach(async () => {
    edge = await startTestEdge(redis.url, { settings: { AXLE_BOOTSTRAP_SECRET: secret } })
  }, 60_000)
  afterEach(() => edge.stop())

  it('case 12: makes one admin key that works, and tells who asked; the second time is 409', async () => {
    const response = await ask(`Bearer ${secret}`)
    expect(response.status).toBe(200)
    const key = made.parse(await response.json())
    expect(parseKey(key.value)).toEqual({ kind: 'admin', id: key.id })
    expect(key.redacted_value).not.toContain(key.value.slice(20))
    const projects = await edge.send('/v1/organization/projects', {
      headers: { authorization: `Bearer ${key.value}` },
    })
    expect(projects.status).toBe(200)

    expect(await refusalOf(await ask(`Bearer ${secret}`))).toEqual([409, 'already_exists'])
    expect(await rows("SELECT id FROM api_keys WHERE name = 'bootstrap'")).toEqual([{ id: key.id }])
    expect(await rows('SELECT type, actor_key_id, actor_ip, request_id, resource_id FROM audit_logs')).toEqual([
      {
        type: 'organization.admin_api_key.created',
        actor_key_id: null,
        actor_ip: '203.0.113.9',
        request_id: response.headers.get('x-request-id'),
        resource_id: key.id,
      },
    ])
  })

  it('case 12: twenty at once make one key', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(`Bearer ${secret}`)))
    const statuses = answers.map((answer) => answer.status).sort((a, b) => a - b)
    expect(statuses).toEqual([200, ...Array.from({ length: 19 }, () => 409)])
    for (const table of ["api_keys WHERE name = 'bootstrap'", 'bootstrap', 'audit_logs']) {
      expect(await rows(`SELECT count(*) AS count FROM ${table}`)).toEqual([{ count: 1 }])
    }
  })

  it('case 12: an answer that was lost is told again to whoever repeats the request with its Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'first-key' }
    const first = await ask(`Bearer ${secret}`, headers)
    const second = await ask(`Bearer ${secret}`, headers)
    expect(await second.text()).toBe(await first.text())
    expect([first.status, second.status]).toEqual([200, 200])
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    const stored = JSON.stringify(await rows('SELECT * FROM idempotent_answers'))
    expect(stored).not.toContain('axle_admin_')
  })

  it('case 12: without the secret the route is not there: the same bytes as of any other path', async () => {
    const nowhere = await fetch(`${edge.url}/v1/organization/nowhere`, { method: 'POST' })
    const body = await nowhere.text()
    expect(nowhere.status).toBe(404)
    const wrong = [null, '', 'Bearer', `Bearer ${secret}x`, `Bearer ${secret.slice(0, -1)}`, secret, `Basic ${secret}`]
    for (const authorization of [...wrong, `Bearer ${edge.tenantKey}`, `Bearer ${edge.adminKey}`]) {
      const response = await ask(authorization)
      expect([response.status, await response.text()]).toEqual([404, body])
    }
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
      const response = await fetch(edge.url + path, { method })
      expect([response.status, await response.text(), response.headers.get('allow')]).toEqual([404, body, null])
    }
    expect(await rows('SELECT * FROM bootstrap')).toEqual([])
  })

  it('case 12: where none is set nobody gets a key', async () => {
    const without = await startTestEdge(redis.url)
    try {
      for (const authorization of ['Bearer ', 'Bearer undefined', 'Bearer null', `Bearer ${secret}`]) {
        const response = await fetch(without.url + path, { method: 'POST', headers: { authorization } })
        expect(response.status).toBe(404)
      }
    } finally {
      await without.stop()
    }
  })

  it('case 12: neither it nor the key it made is logged or stored', async () => {
    const { value } = made.parse(await (await ask(`Bearer ${secret}`)).json())
    const tables = ['api_keys', 'audit_logs', 'bootstrap', 'idempotent_answers']
    const stored = await Promise.all(tables.map((table) => rows(`SELECT * FROM ${table}`)))
    const everything = JSON.stringify(stored) + edge.logs.join('\n')
    for (const hidden of [secret, value, value.slice(-39)]) expect(everything).not.toContain(hidden)
  })
})

describe('case 12: a weak secret', () => {
  it('case 12: an empty one does not start', async () => {
    await expect(startWith('')).rejects.toThrow('AXLE_BOOTSTRAP_SECRET')
  })

  it('case 12: the gateway’s process ends with the name of the setting, not its value', async () => {
    const weak = 'weak-secret-of-this-test'
    const environment = {
      ...process.env,
      REDIS_URL: redis.url,
      AXLE_DATA_DIR: tmpdir(),
      AXLE_PORT: String(await freePort()),
      AXLE_PEPPER: testPepper,
      AXLE_TENANT_KEY: newKey('live', randomBytes),
      AXLE_ADMIN_KEY: newKey('admin', randomBytes),
      AXLE_BOOTSTRAP_SECRET: weak,
    }
    const child = spawn(process.execPath, ['local/edge.ts'], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
    const [[code], said] = await Promise.all([once(child, 'exit'), text(child.stderr)])
    expect(code).toBe(1)
    expect(said).toContain('AXLE_BOOTSTRAP_SECRET')
    expect(said).not.toContain(weak)
  })

  it.each([
    ['short', randomBytes(23).toString('base64').slice(0, 31)],
    ['of one letter', 'x'.repeat(64)],
    ['of a few letters', 'abcabcd'.repeat(8)],
    ['repeated', 'kX9$wQ2z'.repeat(5)],
    ['counted', '1234567890'.repeat(4)],
    ['a default', 'changeme-0123456789-abcdefghijklmnop'],
    ['an example', 'your-secret-here-0123456789-abcdefgh'],
  ])('case 12: %s does not start, and is not repeated', async (_name, weak) => {
    const error: unknown = await startWith(weak).catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(SettingsError)
    expect(String(error)).toContain('AXLE_BOOTSTRAP_SECRET')
    expect(String(error)).not.toContain(weak)
  })
})

/** Stops it should it start, which no test here wants. */
async function startWith(weak: string): Promise<void> {
  const changes = { environment: 'production', settings: { AXLE_BOOTSTRAP_SECRET: weak } } as const
  await (await startTestEdge(redis.url, changes)).stop()
}
