/** `axle bootstrap` and `axle admin-key`: from the deployment's secret to an admin key, and from one to the next. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { adminKey } from '../../cli/admin-key.ts'
import { parseKey } from '../../contract/key-format.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'
import { printedBy } from '../fixtures/terminal.ts'

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

/** As its own process: the secret goes in by stdin. */
async function bootstrap(input: string, url = edge.url): Promise<{ out: string; err: string; code: unknown }> {
  const { AXLE_BOOTSTRAP_SECRET: _, ...env } = process.env
  const child = spawn(process.execPath, ['cli/main.ts', 'bootstrap', url], { cwd: root, env })
  const exited = once(child, 'exit')
  child.stdin.end(input)
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  return { out: out.trim(), err: err.trim(), code }
}

describe('axle bootstrap', () => {
  it('makes the first admin key from the secret, once: the next one comes from that key and can replace it', async () => {
    const wrong = await bootstrap(`${secret}x`)
    expect(wrong).toMatchObject({ out: '', code: 1 })
    expect(wrong.err).toContain('another AXLE_BOOTSTRAP_SECRET, or none. (not_found)')

    const { out: key, err, code } = await bootstrap(`${secret}\n`)
    expect(code).toBe(0)
    expect(parseKey(key)?.kind).toBe('admin')
    expect(err).not.toContain(key)
    const opened = await edge.send('/v1/organization/projects', { headers: { authorization: `Bearer ${key}` } })
    expect(opened.status).toBe(200)

    vi.stubEnv('AXLE_URL', edge.url)
    vi.stubEnv('AXLE_ADMIN_KEY', key)
    onTestFinished(() => void vi.unstubAllEnvs())
    const ownId = parseKey(key)?.id ?? ''
    expect((await printedBy(adminKey, 'revoke', ownId)).err).toContain('(key_in_use)')
    const next = await printedBy(adminKey, 'create', '--name', 'next', '--expires', '90d')
    expect(next.err).not.toContain(next.out)
    vi.stubEnv('AXLE_ADMIN_KEY', next.out)
    expect((await printedBy(adminKey, 'revoke', ownId)).out).toContain(`${ownId} is revoked`)
    const listed = (await printedBy(adminKey, 'list')).out
    expect(listed).toMatch(new RegExp(`^${parseKey(next.out)?.id} +next `, 'm'))
    expect(listed).not.toContain(ownId)

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
