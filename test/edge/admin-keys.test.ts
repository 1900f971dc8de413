/** API keys of a project as OpenAI's SDK sees them: shown once, changed, revoked. */
import { describe, expect, it } from 'vitest'
import { parseKey } from '../../contract/key-format.ts'
import { adminBench, refusalOf } from '../fixtures/admin-bench.ts'

const bench = adminBench()

describe('API keys', () => {
  it('a new key is shown once, works with its scopes, and reads as the SDK expects', async () => {
    const project = await bench.newProject('Keys')
    const { value, ...made } = await bench.newKey(project, {
      name: 'ci',
      scopes: ['inference', 'usage'],
      expires_in_seconds: 3_600,
      models: ['axle/test-model'],
      ip_allowlist: ['10.0.0.0/8', '127.0.0.1', '2001:db8::/32'],
    })
    expect(parseKey(value)).toEqual({ kind: 'live', id: made.id })
    expect(made).toMatchObject({
      object: 'organization.project.api_key',
      name: 'ci',
      redacted_value: `axle_live_${made.id}_…`,
      last_used_at: null,
      owner: { type: 'service_account', service_account: { id: `svc_${project}`, name: 'Keys', role: 'member' } },
      owner_project_access: 'active',
      scopes: ['inference', 'usage'],
      models: ['axle/test-model'],
      ip_allowlist: ['10.0.0.0/8', '127.0.0.1', '2001:db8::/32'],
      replaces: null,
    })
    expect(Number(made['expires_at']) - Number(made['created_at'])).toBe(3_600)
    const { apiKeys } = bench.admin.organization.projects
    expect(await apiKeys.retrieve(made.id, { project_id: project })).toEqual(made)
    const listed = []
    for await (const key of apiKeys.list(project)) listed.push(key)
    expect(listed).toEqual([made])
    expect((await bench.edge.send('/v1/models', { headers: { authorization: `Bearer ${value}` } })).status).toBe(200)
  })

  it('an answer with a key is kept by nobody on its way', async () => {
    const answer = await bench.admin.send(`/projects/${await bench.newProject()}/api_keys`, { name: 'n' })
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })

  it('of a key only a digest under the pepper is stored', async () => {
    const { id, value } = await bench.newKey(await bench.newProject())
    const dump = JSON.stringify([
      await bench.edge.database.prepare('SELECT * FROM api_keys').all(),
      await bench.edge.database.prepare('SELECT * FROM audit_logs').all(),
    ])
    expect(dump).toContain(id)
    expect(dump).not.toContain(value.slice(19, 51))
    expect(bench.edge.logs.join('\n')).not.toContain(value.slice(19, 51))
  })

  it('a key is changed field by field; null takes a bound away', async () => {
    const project = await bench.newProject()
    const { value: _value, ...key } = await bench.newKey(project, { models: ['m'], expires_in_seconds: 60 })
    const path = `/projects/${project}/api_keys/${key.id}`
    expect(await bench.admin.tell(path, { name: 'new', scopes: ['usage'] })).toEqual({
      ...key,
      name: 'new',
      scopes: ['usage'],
    })
    expect(await bench.admin.tell(path, { models: null, expires_in_seconds: null })).toMatchObject({
      models: null,
      expires_at: null,
      scopes: ['usage'],
    })
    const { apiKeys } = bench.admin.organization.projects
    const read = await apiKeys.retrieve(key.id, { project_id: project })
    expect(read).toMatchObject({ name: 'new', models: null, expires_at: null })
  })

  it('a revoked key is gone from every answer, and revoked once', async () => {
    const project = await bench.newProject()
    const { id } = await bench.newKey(project)
    const { apiKeys } = bench.admin.organization.projects
    expect(await apiKeys.delete(id, { project_id: project })).toEqual({
      id,
      object: 'organization.project.api_key.deleted',
      deleted: true,
    })
    for (const init of [{}, { method: 'DELETE' }]) {
      const again = await bench.admin.send(`/projects/${project}/api_keys/${id}`, undefined, init)
      expect(await refusalOf(again)).toEqual([404, 'not_found', null])
    }
    expect((await apiKeys.list(project)).data).toEqual([])
  })

  it('while Redis is away nothing is revoked, and the operator is told to try again', async () => {
    const project = await bench.newProject()
    const { id } = await bench.newKey(project)
    await bench.redis.kill()
    const refused = await bench.admin.send(`/projects/${project}/api_keys/${id}`, undefined, { method: 'DELETE' })
    expect(await refusalOf(refused)).toEqual([503, 'queue_unavailable', null])
    await bench.redis.start()
    const { apiKeys } = bench.admin.organization.projects
    expect(await apiKeys.retrieve(id, { project_id: project })).toMatchObject({ id })
    await expect
      .poll(() => bench.admin.send(`/projects/${project}/api_keys/${id}`, undefined, { method: 'DELETE' }), {
        timeout: 10_000,
      })
      .toHaveProperty('status', 200)
  })
})
