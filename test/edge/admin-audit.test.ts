/** The audit log: one event for each change, none for what was refused, and nobody rewrites it. */
import { describe, expect, it } from 'vitest'
import { adminBench, type AdminBench, type MadeKey } from '../fixtures/admin-bench.ts'

const bench = adminBench()

interface AuditEvent {
  readonly id: string
  readonly type: string
  readonly effective_at: number
  readonly [fields: string]: unknown
}

async function eventsOf({ admin }: AdminBench, query: string): Promise<AuditEvent[]> {
  return (await admin.tell<{ data: AuditEvent[] }>(`/audit_logs?limit=100&${query}`)).data
}

describe('the audit log', () => {
  it('has one event for every change of a project: who, when, from where, what', async () => {
    const project = await bench.newProject('Audited')
    const path = `/projects/${project}`
    const key = await bench.newKey(project, { scopes: ['usage'] })
    await bench.admin.tell(path, { name: 'Renamed', weight: 2 })
    await bench.admin.tell(`${path}/api_keys/${key.id}`, { expires_in_seconds: 60 })
    const heir = await bench.admin.tell<MadeKey>(`${path}/api_keys/${key.id}/rotate`, { overlap_seconds: 1 })
    await bench.admin.tell(`${path}/api_keys/${key.id}`, undefined, { method: 'DELETE' })
    await bench.admin.tell(`${path}/rate_limits/rl_${project}`, { max_queued_requests: 5 })
    await bench.admin.tell(`${path}/spend_limit`, { currency: 'USD', interval: 'month', threshold_amount: 5 })
    await bench.admin.tell(`${path}/spend_limit`, undefined, { method: 'DELETE' })
    await bench.admin.tell(`${path}/archive`, {})

    const events = (await eventsOf(bench, `project_ids[]=${project}`)).toReversed()
    const rotation = events.splice(4, 2)
    expect(new Set(rotation.map(({ type }) => type))).toEqual(new Set(['api_key.created', 'api_key.updated']))
    expect(rotation.find(({ type }) => type === 'api_key.created')).toMatchObject({
      'api_key.created': { id: heir.id, data: { scopes: ['usage'], replaces: key.id } },
    })
    expect(events.map((event) => [event.type, event[event.type]])).toMatchObject([
      ['project.created', { id: project, data: { name: 'Audited', title: 'Audited' } }],
      ['api_key.created', { id: key.id, data: { scopes: ['usage'] } }],
      ['project.updated', { id: project, changes_requested: { title: 'Renamed', weight: 2 } }],
      ['api_key.updated', { id: key.id, changes_requested: { expires_in_seconds: 60 } }],
      ['api_key.deleted', { id: key.id }],
      ['rate_limit.updated', { id: `rl_${project}`, changes_requested: { max_queued_requests: 5 } }],
      ['spend_limit.updated', { id: project, changes_requested: { threshold_amount: 5 } }],
      ['spend_limit.deleted', { id: project }],
      ['project.archived', { id: project }],
    ])
    for (const event of events) {
      expect(event).toMatchObject({
        object: 'organization.audit_log',
        id: expect.stringMatching(/^audit_[0-9A-Z]{26}$/),
        effective_at: expect.closeTo(Date.now() / 1000, -2),
        project: { id: project, name: 'Renamed' },
        actor: { type: 'api_key', api_key: { id: bench.edge.adminKey.slice(11, 19), type: 'service_account' } },
        request_id: expect.stringMatching(/^req_/),
      })
    }
    expect(JSON.stringify(events)).not.toContain(key.value.slice(19, 51))
  })

  it('tells who acted by the request id of the answer, and from which address', async () => {
    const init = { headers: { 'cf-connecting-ip': '203.0.113.9' } }
    const answer = await bench.admin.send('/projects', { name: 'From afar' }, init)
    const { id }: { id: string } = await answer.json()
    expect(await eventsOf(bench, `resource_ids[]=${id}`)).toMatchObject([
      { request_id: answer.headers.get('x-request-id'), actor: { ip_address: '203.0.113.9' } },
    ])
  })

  it('has no event of what was refused, or failed', async () => {
    const before = await eventsOf(bench, '')
    await bench.admin.send('/projects', {})
    await bench.admin.send('/projects/proj_unknown', { name: 'n' })
    await bench.admin.send('/projects/tenant-local/api_keys/unknown0', undefined, { method: 'DELETE' })
    await bench.admin.send('/projects/tenant-local/spend_limit', undefined, { method: 'DELETE' })
    expect(await eventsOf(bench, '')).toEqual(before)
  })

  it('of two that revoke one key at the same time one changes it, and one event says so', async () => {
    const project = await bench.newProject()
    const key = await bench.newKey(project)
    const path = `/projects/${project}/api_keys/${key.id}`
    const answers = await bench.racing(() => bench.admin.send(path, undefined, { method: 'DELETE' }))
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 404])
    expect(await eventsOf(bench, `resource_ids[]=${key.id}&event_types[]=api_key.deleted`)).toHaveLength(1)
  })

  it('is walked by the SDK, newest first, filtered by type, project and time, forth and back', async () => {
    const project = await bench.newProject('Walked')
    const made: string[] = []
    for (const name of ['1', '2', '3', '4', '5']) made.unshift((await bench.newKey(project, { name })).id)
    const { auditLogs } = bench.admin.organization
    const filters = { project_ids: [project], event_types: ['api_key.created' as const], limit: 2 }
    const walked: (string | undefined)[] = []
    const ids: string[] = []
    for await (const event of auditLogs.list(filters)) {
      walked.push(event['api_key.created']?.id)
      ids.push(event.id)
    }
    expect(walked).toEqual(made)
    const back = await auditLogs.list({ ...filters, before: ids[3] ?? '' })
    expect(back.data.map(({ id }) => id)).toEqual(ids.slice(1, 3))
    expect(back.has_more).toBe(true)
    await expect(auditLogs.list({ ...filters, before: 'audit_unknown' })).rejects.toMatchObject({ param: 'before' })

    const second = (await auditLogs.list({ ...filters, limit: 1 })).data[0]?.effective_at ?? Number.NaN
    const countIn = async (range: object) =>
      (await auditLogs.list({ ...filters, limit: 100, effective_at: range })).data.length
    expect(await countIn({ gte: second - 60, lte: second })).toBe(5)
    expect(await countIn({ gt: second })).toBe(0)
    expect(await countIn({ lt: second - 60 })).toBe(0)
    const strangers = await eventsOf(bench, `project_ids[]=${project}&actor_ids[]=somebody`)
    expect(strangers).toEqual([])
  })

  it.each([
    'UPDATE audit_logs SET type = type',
    'DELETE FROM audit_logs',
    "INSERT OR REPLACE INTO audit_logs SELECT id, 0, 'project.created', NULL, NULL, '', NULL, '', '{}' FROM audit_logs",
  ])('is append-only, whoever tries: %s', async (sql) => {
    await bench.newProject()
    const rows = () => bench.edge.database.prepare('SELECT * FROM audit_logs ORDER BY id').all()
    const { results } = await rows()
    await expect(bench.edge.database.prepare(sql).run()).rejects.toThrow('the audit log is append-only')
    expect((await rows()).results).toEqual(results)
  })
})
