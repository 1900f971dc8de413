/** I16 by walking the router: whatever is registered demands a key unless it is listed as public. Runs in Node: no I/O. */
import { describe, expect, it } from 'vitest'
import { bootstrapPath } from '../../edge/admin/bootstrap.ts'
import { createApp } from '../../edge/app.ts'
import type { Env } from '../../edge/env.ts'
import { middlewarePattern } from '../../edge/middleware/auth.ts'
import { routes } from '../../edge/route-table.ts'

/** Settings only: a request that reached a store would throw, and be a 500. */
const env = {
  REDIS_URL: 'redis://127.0.0.1:1',
  AXLE_ENV: 'local',
  AXLE_PEPPER: 'pepper-of-the-tests-0123456789-abcdef',
} as Env
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const app = createApp(routes)
const isPublic = (path: string) => routes.some((route) => route.path === path && route.access === 'public')
const paths = [...new Set(app.routes.map((route) => route.path))].filter((path) => path !== middlewarePattern)

async function codeOf(response: Response): Promise<string> {
  const body: { error: { code: string } } = await response.json()
  return body.error.code
}

describe('the router', () => {
  it('has the routes of the table and no other', () => {
    expect(paths.sort()).toEqual([...new Set(routes.map((route) => route.path))].sort())
  })

  it('opens to everyone what must be, and nothing else', () => {
    expect(paths.filter(isPublic).sort()).toEqual(['/healthz', '/readyz', bootstrapPath])
  })

  const guarded = paths.filter((path) => !isPublic(path)).map((path) => path.replaceAll(/:\w+(\{[^}]*\})?/g, 'x'))
  it.each(guarded.flatMap((path) => methods.map((method) => [method, path] as const)))(
    'I16: %s %s without a key is 401',
    async (method, path) => {
      const response = await app.request(path, { method }, env)
      expect(response.status).toBe(401)
      expect(await codeOf(response)).toBe('missing_api_key')
      expect(response.headers.get('x-request-id')).toMatch(/^req_/)
    },
  )

  it.each(guarded)('I16: HEAD %s without a key is 401', async (path) => {
    expect((await app.request(path, { method: 'HEAD' }, env)).status).toBe(401)
  })

  it('I16: a route registered beside the table demands a key all the same', async () => {
    const wider = createApp(routes).get('/v1/forgotten', (context) => context.text('open'))
    expect((await wider.request('/v1/forgotten', {}, env)).status).toBe(401)
  })

  it.each(['/', '/v1', '/v1/nope', '/healthz/x', '/V1/models', '//v1/models'])('%s is 404', async (path) => {
    const response = await app.request(path, {}, env)
    expect(response.status).toBe(404)
    expect(await codeOf(response)).toBe('not_found')
  })

  it.each(['POST', 'DELETE'])('%s /healthz is 405 and says what is allowed', async (method) => {
    const response = await app.request('/healthz', { method }, env)
    expect([response.status, await codeOf(response)]).toEqual([405, 'method_not_allowed'])
    expect(response.headers.get('allow')).toBe('GET, HEAD')
    expect(response.headers.get('x-request-id')).toMatch(/^req_/)
  })

  it.each([
    { AXLE_PEPPER: '' },
    { AXLE_PEPPER: 'short' },
    { AXLE_PEPPER: 'x'.repeat(64) },
    { AXLE_PEPPER: 'changeme'.repeat(4) },
    { AXLE_PEPPER: '1234567890'.repeat(4) },
    { AXLE_PEPPER_PREVIOUS: 'x'.repeat(64), AXLE_PEPPER_PREVIOUS_ID: 'p0' },
    { AXLE_PEPPER_PREVIOUS: 'the-pepper-before-9876543210-fedcba' },
    { AXLE_PEPPER_PREVIOUS: 'the-pepper-before-9876543210-fedcba', AXLE_PEPPER_PREVIOUS_ID: 'p1' },
    { AXLE_BOOTSTRAP_SECRET: '' },
    { AXLE_BOOTSTRAP_SECRET: 'changeme-0123456789-abcdefghijklmnop' },
    { AXLE_ENV: 'staging' },
    { REDIS_URL: '' },
  ])('does not serve with %o', async (change) => {
    const response = await app.request('/v1/models', {}, { ...env, AXLE_ENV: 'production', ...change })
    expect(response.status).toBe(500)
    expect(await codeOf(response)).toBe('internal_error')
  })
})
