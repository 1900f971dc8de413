/** `axle bootstrap`, as its own process: the secret goes in by stdin, the first admin key comes out alone, once. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseKey } from '../../contract/key-format.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const root = join(import.meta.dirname, '..', '..')
const secret = 'Xk2v9QmW7rT4yB8nL1pZ6cD3fG5hJ0sA'
let redis: TestRedis
let edge: TestEdge

beforeAll(async () => {
  redis = await startRedis()
  edge = await startTestEdge(redis.url, { settings: { AXLE_BOOTSTRAP_SECRET: secret } })
})
afterAll(async () => {
  await edge.stop()
  await redis.stop()
})

async function bootstrap(input: string, url = edge.url): Promise<{ out: string; err: string; code: unknown }> {
  const { AXLE_BOOTSTRAP_SECRET: _, ...env } = process.env
  const child = spawn(process.execPath, ['cli/main.ts', 'bootstrap', url], { cwd: root, env })
  const exited = once(child, 'exit')
  child.stdin.end(input)
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  return { out: out.trim(), err: err.trim(), code }
}

describe('axle bootstrap', () => {
  it('makes the first admin key from the secret, once, and repeats the secret nowhere', async () => {
    const wrong = await bootstrap(`${secret}x`)
    expect(wrong).toMatchObject({ out: '', code: 1 })
    expect(wrong.err).toContain('(not_found)')

    const { out: key, err, code } = await bootstrap(`${secret}\n`)
    expect(code).toBe(0)
    expect(parseKey(key)?.kind).toBe('admin')
    expect(err).not.toContain(key)
    const opened = await edge.send('/v1/organization/projects', { headers: { authorization: `Bearer ${key}` } })
    expect(opened.status).toBe(200)

    const again = await bootstrap(secret)
    expect(again).toMatchObject({ out: '', code: 1 })
    expect(again.err).toContain('(already_exists)')
    for (const { err: said } of [wrong, again]) expect(said).not.toContain(secret)
  })

  it('sends no secret where it would travel in clear text, and none that is empty', async () => {
    expect((await bootstrap(secret, 'http://axle.example.com')).err).toContain('over https:// only')
    expect((await bootstrap('\n')).err).toBe('There is no secret on stdin')
  })
})
