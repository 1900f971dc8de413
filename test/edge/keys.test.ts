/** What is no key, against the real bundle in workerd: the same 401, at once, with no store asked. Cases 1, 2 and 4. */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { newKey } from '../../contract/key-format.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { startDatabaseDoor } from '../fixtures/database-door.ts'
import { edgeBench } from '../fixtures/edge-bench.ts'
import { testPepper } from '../fixtures/edge.ts'
import { announce } from '../fixtures/scripted-worker.ts'
import { codeOf, plantKey } from '../fixtures/stored-keys.ts'

/** For what is refused without I/O, the fastest of several tries: the machine's other work is not on trial. */
const refusalMs = 50

const bench = edgeBench(async (redis) => {
  const edge = await startDatabaseDoor(redis.url)
  await announce(redis.connect())
  return edge
})

function withHeaders(headers: Record<string, string>, path = '/v1/models'): Promise<Response> {
  return bench.edge.send(path, { headers })
}

/** Bytes as they are, past what an HTTP client would send. @returns status of the answer, 0 for none. */
function statusOf(headerLines: string): Promise<number> {
  const { hostname, port } = new URL(bench.edge.url)
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
    const before = await bench.edge.storeCalls()
    const response = await fetch(`${bench.edge.url}/v1/models`, { headers })
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe('Bearer')
    expect(await bench.edge.storeCalls()).toEqual(before)
  })

  it('case 1: a key in the query string is none', async () => {
    const before = await bench.edge.storeCalls()
    for (const name of ['api_key', 'key', 'access_token', 'authorization']) {
      const response = await fetch(`${bench.edge.url}/v1/models?${name}=${bench.edge.tenantKey}`)
      expect(await codeOf(response)).toEqual([401, 'missing_api_key'])
    }
    expect(await bench.edge.storeCalls()).toEqual(before)
  })

  it('case 1: two keys are 400, sent in one header or in two', async () => {
    const before = await bench.edge.storeCalls()
    const two = [`Bearer ${bench.edge.tenantKey}`, `Bearer ${wellFormed}`]
    expect(await codeOf(await withHeaders({ authorization: two.join(', ') }))).toEqual([400, 'invalid_value'])
    expect(await statusOf(two.map((line) => `authorization: ${line}`).join('\r\n'))).toBe(400)
    expect(await bench.edge.storeCalls()).toEqual(before)
  })
})

describe('case 2: what is no key of ours', () => {
  it.each(Object.entries(malformed))('case 2: %s is the same 401 as an unknown key, unread', async (_name, key) => {
    const unknown = await withHeaders({ authorization: `Bearer ${newKey('live', randomBytes)}` })
    const before = await bench.edge.storeCalls()
    const response = await withHeaders({ authorization: `Bearer ${key}` })
    expect([response.status, await response.text()]).toEqual([401, await unknown.text()])
    expect(await bench.edge.storeCalls()).toEqual(before)
  })

  it('one of the other kind with the same id and secret is unknown', async () => {
    const asAdmin = bench.edge.tenantKey.replace('live', 'admin')
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
      const before = await bench.edge.storeCalls()
      const tookMs = []
      for (let i = 0; i < 5; i++) {
        const beganAtMs = performance.now()
        expect([401, 431]).toContain(await statusOf(`authorization: Bearer ${key}`))
        tookMs.push(performance.now() - beganAtMs)
      }
      expect(Math.min(...tookMs)).toBeLessThan(refusalMs)
      expect(await bench.edge.storeCalls()).toEqual(before)
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
    await bench.edge.setDatabase('failing')
    expect(await codeOf(await withHeaders({ authorization: `Bearer ${stranger}` }))).toEqual([503, 'auth_unavailable'])
    await bench.edge.setDatabase('open')
    const isBack = async () => (await withHeaders((await plantKey(bench.edge)).headers)).status
    await expect.poll(isBack, { timeout: 5_000 }).toBe(200)
    await expect.poll(() => bench.edge.logs.join('\n')).toContain('key-lookup-failed')
    const logged = bench.edge.logs.join('\n')
    const secrets = [stranger, wellFormed, bench.edge.tenantKey, bench.edge.adminKey].map((key) => key.slice(19))
    for (const secret of [canary, testPepper, ...secrets]) expect(logged).not.toContain(secret)
    expect(logged).not.toContain(keyDigest(stranger, testPepper))
  })
})
