/** Everything a client can get wrong, against the real bundle in workerd: the documented error, and nothing leaks. */
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { isErrorCode, type ErrorCode } from '../../contract/errors.ts'
import { keys } from '../../contract/keys.ts'
import { bodyBytesMax } from '../../contract/limits.ts'
import { startTestEdge, testPepper, type TestEdge } from '../fixtures/edge.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'
import { announce, testModel } from '../fixtures/scripted-worker.ts'
import { plantKey } from '../fixtures/stored-keys.ts'

const canary = 'canary-7f3a'
const chatPath = '/v1/chat/completions'
let redis: TestRedis
let edge: TestEdge

beforeAll(async () => {
  redis = await startRedis()
  edge = await startTestEdge(redis.url)
  await announce(redis.connect())
}, 60_000)
afterAll(async () => {
  await edge.stop()
  await redis.stop()
})

const chat = { model: testModel.id, messages: [{ role: 'user', content: canary }] }

/** Status, code and parameter of an error answer. Throws when it is not OpenAI's error object, or tells too much. */
async function refusalOf(response: Response): Promise<[number, ErrorCode, string | null]> {
  const text = await response.text()
  const { error } = errorAnswer.parse(JSON.parse(text))
  const id = response.headers.get('x-request-id') ?? ''
  if (!/^req_[0-9A-Z]{26}$/.test(id)) throw new Error(`An answer without a request id of ours: ${id}`)
  if (text.includes(canary)) throw new Error('The error quotes the request')
  return [response.status, error.code, error.param]
}

const errorAnswer = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.string().min(1),
    param: z.string().nullable(),
    code: z.string().refine(isErrorCode),
  }),
})

function authorized(authorization: string): Promise<Response> {
  return edge.send('/v1/models', { headers: { authorization } })
}

function post(body: BodyInit, headers: Record<string, string> = {}): Promise<Response> {
  return edge.send(chatPath, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })
}

/** As a client that does not say how long its body is. */
function statusOfChunked(body: string, frame = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`): Promise<number> {
  const { hostname, port } = new URL(edge.url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(
        `POST ${chatPath} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${edge.tenantKey}\r\n` +
          'content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
      )
      socket.write(frame)
    })
    socket.once('data', (answer) => {
      resolve(Number(answer.toString().split(' ')[1]))
      socket.destroy()
    })
    socket.once('error', reject)
  })
}

/** What is no key, or one no longer, stands in `keys.test.ts`. */
describe('keys', () => {
  it('an admin key is no tenant key', async () => {
    expect(await refusalOf(await authorized(`Bearer ${edge.adminKey}`))).toEqual([403, 'insufficient_scope', null])
  })

  it('the scheme is read in any case', async () => {
    expect((await authorized(`bearer ${edge.tenantKey}`)).status).toBe(200)
  })

  it('one revoked in Redis alone is refused at admission', async () => {
    const { id, headers } = await plantKey(edge)
    await redis.connect().sadd(keys.revoked, id)
    expect(await refusalOf(await edge.chat(chat, { headers }))).toEqual([401, 'key_revoked', null])
  })

  it('only digests are stored', async () => {
    const { results } = await edge.database.prepare('SELECT * FROM api_keys').all()
    expect(JSON.stringify(results)).not.toContain(edge.tenantKey.slice(19, 51))
  })
})

describe('bodies', () => {
  it.each(['', '{', `{"${canary}"`, `{"a":${canary}}`, '{"model":"m",}', '{"a":NaN}'])(
    '%j is invalid_json',
    async (body) => {
      expect(await refusalOf(await post(body))).toEqual([400, 'invalid_json', null])
    },
  )

  it.each([
    [0x22, 0xff, 0xfe, 0x22],
    [0x22, 0xc0, 0x80, 0x22],
    [0xef, 0xbb, 0xbf, 0x7b, 0x7d],
  ])('the bytes %o %o %o %o are invalid_encoding', async (...bytes) => {
    expect(await refusalOf(await post(Uint8Array.from(bytes)))).toEqual([400, 'invalid_encoding', null])
  })

  it('a lone surrogate is refused, never replaced', async () => {
    const body = JSON.stringify(chat).replace(canary, '\\ud800')
    expect(await refusalOf(await post(body))).toEqual([400, 'invalid_encoding', null])
  })

  it('nesting a hundred thousand deep is refused and the gateway lives', async () => {
    expect(await refusalOf(await post(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`))).toEqual([
      400,
      'invalid_value',
      null,
    ])
    expect((await fetch(`${edge.url}/healthz`)).status).toBe(200)
  })

  it.each([
    ['text/plain', {}],
    ['application/x-www-form-urlencoded', {}],
    ['application/json; charset=latin1', {}],
    ['application/json', { 'content-encoding': 'gzip' }],
  ])('%s %o is 415', async (type, headers) => {
    expect(await refusalOf(await post('{}', { 'content-type': type, ...headers }))).toEqual([
      415,
      'unsupported_media_type',
      null,
    ])
  })

  it('no content type is 415', async () => {
    const response = await edge.send(chatPath, { method: 'POST', body: new Uint8Array([0x7b, 0x7d]) })
    expect(await refusalOf(response)).toEqual([415, 'unsupported_media_type', null])
  })

  const ofSize = (size: number) => {
    const around = JSON.stringify({ ...chat, user: null, foo: '' })
    return around.replace('"foo":""', `"foo":"${'x'.repeat(size - around.length)}"`)
  }
  it('the largest body is read, one byte more is 413, with and without a length', async () => {
    expect(await refusalOf(await post(ofSize(bodyBytesMax)))).toEqual([400, 'unknown_parameter', 'foo'])
    expect(await refusalOf(await post(ofSize(bodyBytesMax + 1)))).toEqual([413, 'request_too_large', null])
    expect(await statusOfChunked(ofSize(bodyBytesMax + 1))).toBe(413)
  })

  it('one that breaks off is the client’s fault, and no failure in the log', async () => {
    expect(await statusOfChunked('', 'zz\r\n{}\r\n0\r\n\r\n')).toBe(400)
    expect(edge.logs.filter((line) => line.includes('request-failed'))).toEqual([])
  })

  it.each(['application/json;charset=UTF-8', 'application/json; charset="utf-8"', 'application/json; charset=utf8'])(
    '%s is read',
    async (type) => {
      expect(await refusalOf(await post('{', { 'content-type': type }))).toEqual([400, 'invalid_json', null])
    },
  )

  it.each([
    [{ ...chat, max_tokens: 0 }, 'invalid_value', 'max_tokens'],
    [{ ...chat, temperature: 'hot' }, 'invalid_type', 'temperature'],
    [{ ...chat, n: 3 }, 'unsupported_parameter', 'n'],
    [{ ...chat, tenant_id: canary }, 'unknown_parameter', 'tenant_id'],
    [{ ...chat, messages: [] }, 'invalid_value', 'messages'],
    [{ messages: chat.messages }, 'missing_required_parameter', 'model'],
    [{ ...chat, chat_template: canary }, 'unknown_parameter', 'chat_template'],
    [[], 'invalid_type', null],
  ] as const)('%o is %s of %s', async (body, code, param) => {
    expect(await refusalOf(await edge.chat(body))).toEqual([400, code, param])
  })

  it('contradictory modes are 400', async () => {
    const body = { ...chat, reasoning_effort: 'high', thinking: { type: 'disabled' } }
    expect(await refusalOf(await edge.chat(body))).toEqual([400, 'contradictory_parameters', null])
  })

  it.each(['nope', '../../etc/passwd', 'http://x/', 'a\0b', 'x'.repeat(256)])('the model %j is 404', async (model) => {
    expect(await refusalOf(await edge.chat({ ...chat, model }))).toEqual([404, 'model_not_found', 'model'])
  })
})

describe('routes', () => {
  it('an unknown one is 404, a wrong method is 405, whatever the key', async () => {
    expect(await refusalOf(await edge.send('/v1/nope'))).toEqual([404, 'not_found', null])
    expect(await refusalOf(await fetch(`${edge.url}/nope`))).toEqual([404, 'not_found', null])
    expect(await refusalOf(await edge.send(chatPath))).toEqual([405, 'method_not_allowed', null])
    expect(await refusalOf(await edge.send('/v1/models', { method: 'DELETE' }))).toEqual([
      405,
      'method_not_allowed',
      null,
    ])
  })

  it('a path with several methods names them all, behind its door', async () => {
    const put = (key: string) =>
      edge.send('/v1/organization/projects', { method: 'PUT', headers: { authorization: `Bearer ${key}` } })
    const refused = await put(edge.adminKey)
    expect(refused.headers.get('allow')?.split(', ').sort()).toEqual(['GET', 'HEAD', 'POST'])
    expect(await refusalOf(refused)).toEqual([405, 'method_not_allowed', null])
    expect(await refusalOf(await put(edge.tenantKey))).toEqual([403, 'insufficient_scope', null])
  })

  it('a model of that name or 404', async () => {
    expect((await edge.send(`/v1/models/${testModel.id}`)).status).toBe(200)
    expect((await edge.send(`/v1/models/${encodeURIComponent(testModel.id)}`)).status).toBe(200)
    expect(await refusalOf(await edge.send('/v1/models/nope'))).toEqual([404, 'model_not_found', 'model'])
  })

  it('a request id is ours, never the client’s', async () => {
    const response = await edge.send('/v1/models', { headers: { 'x-request-id': canary } })
    expect(response.headers.get('x-request-id')).not.toContain(canary)
  })
})

it('no prompt, key or secret was logged in all of this', () => {
  const logged = edge.logs.join('\n')
  for (const secret of [canary, edge.tenantKey, edge.adminKey, testPepper]) expect(logged).not.toContain(secret)
})
