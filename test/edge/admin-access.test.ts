/**
 * Who may do what, by walking the route table: every route × every kind of key, every id × another's, every body × fields that
 * are not the client's to set.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { tenantScopes } from '../../edge/auth/scopes.ts'
import { routes, type Route } from '../../edge/route-table.ts'
import { adminBench, refusalOf, type MadeKey } from '../fixtures/admin-bench.ts'
import { announce, testModel } from '../fixtures/scripted-worker.ts'

const bench = adminBench()
const places = /:(\w+)(\{[^}]*\})?/g

interface Project {
  readonly id: string
  readonly key: MadeKey
}
const project: { a?: Project; b?: Project } = {}

beforeAll(async () => {
  await announce(bench.redis.connect())
  for (const name of ['a', 'b'] as const) {
    const id = await bench.newProject(name)
    const path = `/projects/${id}/spend_limit`
    await bench.admin.tell(path, { currency: 'USD', interval: 'month', threshold_amount: 1 })
    project[name] = { id, key: await bench.newKey(id) }
  }
})

function projectOf(name: 'a' | 'b'): Project {
  const made = project[name]
  if (made === undefined) throw new TypeError('Projects stand once the first test begins')
  return made
}

/** Bodies that are fit, so that a refusal is of the id or of the field under test. */
function fitBody(path: string): object {
  if (path.endsWith('/completions')) return { model: testModel.id, messages: [{ role: 'user', content: 'x' }] }
  if (path.endsWith('/spend_limit')) return { currency: 'USD', interval: 'month', threshold_amount: 1 }
  if (path.endsWith('/:limit')) return { max_queued_requests: 1 }
  if (path.endsWith('/prices')) return { model: 'm', input: 1, cached_input: 1, output: 1 }
  return /\/(archive|rotate)$/.test(path) ? {} : { name: 'n' }
}

function call(route: Route, path: string, key: string, body = JSON.stringify(fitBody(route.path))): Promise<Response> {
  const headers: Record<string, string> = { authorization: `Bearer ${key}` }
  if (route.method !== 'POST') return bench.edge.send(path, { method: route.method, headers })
  return bench.edge.send(path, { method: 'POST', body, headers: { ...headers, 'content-type': 'application/json' } })
}

function fill({ path }: Route, ids: Readonly<Record<string, string>>): string {
  return path.replaceAll(places, (_place, name: string) => encodeURIComponent(ids[name] ?? ''))
}

async function told(route: Route, ids: Readonly<Record<string, string>>): Promise<readonly [number, string]> {
  const answer = await call(route, fill(route, ids), bench.edge.adminKey)
  return [answer.status, await answer.text()]
}

/** Of the control plane's tables. When a key was last used is written behind its answers, so that is left out. */
async function everything(): Promise<string> {
  const { database } = bench.edge
  const tables = ['tenants', 'api_keys', 'audit_logs', 'prices', 'idempotent_answers']
  const rows = await database.batch(tables.map((table) => database.prepare(`SELECT * FROM ${table}`)))
  return JSON.stringify(rows.map(({ results }) => results)).replaceAll(/"last_used_at_ms":\w+/g, '')
}

function nowhere({ path }: Route): string {
  return path.replaceAll(places, 'unknown')
}

const guarded = routes.filter(({ access }) => access !== 'public')
const named = (chosen: readonly Route[]) => chosen.map((route) => [route.method, route.path, route] as const)

describe('case 8: keys reach what their scope opens, and nothing else', () => {
  it('the walk sees the routes of every kind', () => {
    const seen = new Set(guarded.map(({ access }) => access))
    expect(seen).toEqual(new Set(['inference', 'admin', 'usage-or-admin']))
    expect(guarded.length).toBeGreaterThan(25)
  })

  it.each(named(guarded.filter(({ access }) => access === 'admin')))(
    'case 8: %s %s is 403 for a tenant key with every scope',
    async (_method, _path, route) => {
      const { id } = projectOf('a')
      const { value } = await bench.newKey(id, { scopes: tenantScopes })
      expect(await refusalOf(await call(route, nowhere(route), value))).toEqual([403, 'insufficient_scope', null])
    },
  )

  it.each(named(guarded.filter(({ access }) => access !== 'admin')))(
    'case 8: %s %s is 403 for a tenant key with every scope but its own',
    async (_method, _path, route) => {
      const own = route.access === 'usage-or-admin' ? 'usage' : route.access
      const scopes = tenantScopes.filter((scope) => scope !== own)
      const { value } = await bench.newKey(projectOf('a').id, { scopes })
      expect(await refusalOf(await call(route, nowhere(route), value))).toEqual([403, 'insufficient_scope', null])
    },
  )

  it.each(named(guarded.filter(({ access }) => access === 'inference')))(
    'case 8: %s %s is 403 for an admin key',
    async (_method, _path, route) => {
      const answer = await call(route, nowhere(route), bench.edge.adminKey)
      expect(await refusalOf(answer)).toEqual([403, 'insufficient_scope', null])
    },
  )
})

describe("case 9: another's id is answered as one that never was", () => {
  const underProjects = guarded.filter(({ path }) => path.includes(':project'))
  const underKeys = guarded.filter(({ path }) => /:(key|limit)/.test(path))

  it.each(named(underProjects.filter(({ method }) => method === 'GET')))(
    '%s %s finds what is there',
    async (_method, _path, route) => {
      const { id, key } = projectOf('a')
      expect((await told(route, { project: id, key: key.id }))[0]).toBe(200)
    },
  )

  it.each(named(underProjects))('case 9: %s %s of an unknown project', async (_method, _path, route) => {
    const before = await everything()
    const { id, key } = projectOf('a')
    const unknown = await told(route, { project: 'proj_unknown', key: 'unknown0', limit: 'rl_unknown' })
    expect(unknown[0]).toBe(404)
    for (const projectId of ["' OR 1=1 --", '\0', '%', '*', id.toLowerCase(), ` ${id}`, 'p'.repeat(2_000)]) {
      expect(await told(route, { project: projectId, key: key.id, limit: `rl_${id}` })).toEqual(unknown)
    }
    expect(await everything()).toBe(before)
  })

  it.each(named(underKeys.filter(({ path }) => path.includes(':project'))))(
    "case 9: %s %s with another project's id, byte for byte the answer to a random one",
    async (_method, _path, route) => {
      const before = await everything()
      const [a, b] = [projectOf('a'), projectOf('b')]
      const random = await told(route, { project: b.id, key: 'aB3dE6gH', limit: 'rl_proj_random' })
      expect(random[0]).toBe(404)
      const foreign = [
        { project: b.id, key: a.key.id, limit: `rl_${a.id}` },
        { project: a.id, key: b.key.id, limit: `rl_${b.id}` },
        { project: a.id, key: bench.edge.adminKey.slice(11, 19), limit: 'rl_' },
        { project: 'proj_unknown', key: a.key.id, limit: `rl_${a.id}` },
      ]
      for (const ids of foreign) expect(await told(route, ids)).toEqual(random)
      expect(await everything()).toBe(before)
    },
  )

  it.each(named(underKeys.filter(({ path }) => !path.includes(':project'))))(
    "case 9: %s %s with a tenant's key",
    async (_method, _path, route) => {
      const random = await told(route, { key: 'aB3dE6gH' })
      expect(random[0]).toBe(404)
      expect(await told(route, { key: projectOf('a').key.id })).toEqual(random)
    },
  )

  it("case 9: a cursor of another project's list is no cursor", async () => {
    const [a, b] = [projectOf('a'), projectOf('b')]
    const after = async (id: string) => {
      const answer = await bench.admin.send(`/projects/${b.id}/api_keys?after=${id}`)
      return [answer.status, await answer.text()]
    }
    const random = await after('aB3dE6gH')
    expect(random[0]).toBe(400)
    expect(await after(a.key.id)).toEqual(random)
  })

  it.each(['usage/completions', 'costs', 'usage/jobs'])(
    "case 9: /v1/organization/%s tells a tenant's key of another project what it tells of a random one",
    async (route) => {
      const { value } = await bench.newKey(projectOf('b').id, { scopes: ['usage'] })
      const asked = async (projectId: string) => {
        const query = `start_time=1790000000&end_time=1790086400&project_ids[]=${projectId}`
        const headers = { authorization: `Bearer ${value}` }
        const answer = await bench.edge.send(`/v1/organization/${route}?${query}`, { headers })
        return [answer.status, await answer.text()]
      }
      expect(await asked(projectOf('a').id)).toEqual(await asked('proj_01JZZZZZZZZZZZZZZZZZZZZZZZ'))
    },
  )
})

describe('case 10: no body sets what is not its to set', () => {
  const fields = [
    'tenant_id',
    'project_id',
    'id',
    'kind',
    'digest',
    'created_at',
    'status',
    'job_id',
    'priority',
    'epoch',
  ]
  const hostile = [...fields, 'cache_salt', '__proto__', 'constructor', 'prototype']
  const changes = guarded.filter(({ method }) => method === 'POST')

  it.each(named(changes))('case 10: %s %s', async (_method, path, route) => {
    const { id, key } = projectOf('a')
    const ids: Record<string, string> = { project: id, key: key.id, limit: `rl_${id}` }
    const target = path.replaceAll(places, (_place, name: string) => ids[name] ?? '')
    const caller = route.access === 'inference' ? key.value : bench.edge.adminKey
    const rows = () => bench.edge.database.prepare('SELECT count(*) AS n FROM audit_logs').first()
    const before = await rows()
    for (const field of hostile) {
      const fit = JSON.stringify(fitBody(path)).slice(1)
      const body = `{"${field}":{"x":1}${fit === '}' ? '' : ','}${fit}`
      expect(await refusalOf(await call(route, target, caller, body))).toEqual([400, 'unknown_parameter', field])
    }
    expect(await rows()).toEqual(before)
  })
})

describe('every change of the control plane', () => {
  const changes = guarded.filter(({ access, method }) => access === 'admin' && method !== 'GET')

  it.each(named(changes))('%s %s leaves an event that says who did it', async (_method, path, route) => {
    const id = await bench.newProject()
    const budget = { currency: 'USD', interval: 'month', threshold_amount: 1 }
    await bench.admin.tell(`/projects/${id}/spend_limit`, budget)
    const key = path.includes('admin_api_keys')
      ? await bench.admin.tell<MadeKey>('/admin_api_keys', { name: 'n' })
      : await bench.newKey(id)
    const answer = await call(route, fill(route, { project: id, key: key.id, limit: `rl_${id}` }), bench.edge.adminKey)
    expect(answer.status).toBe(200)
    const events = await bench.edge.database
      .prepare('SELECT actor_key_id AS actor FROM audit_logs WHERE request_id = ?')
      .bind(answer.headers.get('x-request-id'))
      .all()
    expect(new Set(events.results.map(({ actor }) => actor))).toEqual(new Set([bench.edge.adminKey.slice(11, 19)]))
  })
})
