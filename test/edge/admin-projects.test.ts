/** Projects as OpenAI's SDK sees them, and every body that the control plane refuses, on the bundle in workerd. */
import { describe, expect, it } from 'vitest'
import { adminBench, refusalOf } from '../fixtures/admin-bench.ts'

const bench = adminBench()

describe('projects', () => {
  it('a project is made, read, renamed and archived as the SDK expects', async () => {
    const { projects } = bench.admin.organization
    const made = await projects.create({ name: 'Acme' })
    expect(made).toEqual({
      id: expect.stringMatching(/^proj_[0-9A-Z]{26}$/),
      object: 'organization.project',
      name: 'Acme',
      created_at: expect.closeTo(Date.now() / 1000, -1),
      archived_at: null,
      status: 'active',
      weight: 1,
      tiers: ['default', 'flex'],
      default_tier: 'default',
    })
    expect(await projects.retrieve(made.id)).toEqual(made)
    const renamed = await projects.update(made.id, { name: 'Acme Ltd' })
    expect(renamed).toEqual({ ...made, name: 'Acme Ltd' })
    const archived = await projects.archive(made.id)
    expect(archived).toMatchObject({ id: made.id, name: 'Acme Ltd', status: 'archived' })
    expect(await projects.retrieve(made.id)).toEqual(archived)
  })

  it('weight and tiers are changed alone or together, and never contradict each other', async () => {
    const path = `/projects/${await bench.newProject()}`
    expect(
      await bench.admin.tell(path, { weight: 2.5, tiers: ['flex', 'priority'], default_tier: 'flex' }),
    ).toMatchObject({
      weight: 2.5,
      tiers: ['priority', 'flex'],
      default_tier: 'flex',
    })
    expect(await bench.admin.tell(path, { weight: 0.001 })).toMatchObject({ weight: 0.001, default_tier: 'flex' })
    const contradictory = await bench.admin.send(path, { tiers: ['default'] })
    expect(await refusalOf(contradictory)).toEqual([400, 'contradictory_parameters', 'default_tier'])
  })

  it('an archived project is told, listed only when asked for, and never changed again', async () => {
    const id = await bench.newProject('Gone')
    const key = await bench.newKey(id)
    await bench.admin.organization.projects.archive(id)
    const listed = async (include_archived: boolean) => {
      const ids: string[] = []
      for await (const project of bench.admin.organization.projects.list({ include_archived, limit: 2 }))
        ids.push(project.id)
      return ids
    }
    expect(await listed(false)).not.toContain(id)
    expect(await listed(true)).toContain(id)
    const changes: [string, object][] = [
      [`/projects/${id}`, { name: 'Back' }],
      [`/projects/${id}/archive`, {}],
      [`/projects/${id}/api_keys`, { name: 'new' }],
      [`/projects/${id}/api_keys/${key.id}`, { name: 'new' }],
      [`/projects/${id}/api_keys/${key.id}/rotate`, {}],
      [`/projects/${id}/rate_limits/rl_${id}`, { max_requests_per_1_minute: 1 }],
      [`/projects/${id}/spend_limit`, { currency: 'USD', interval: 'month', threshold_amount: 1 }],
    ]
    for (const [path, body] of changes) {
      expect([path, ...(await refusalOf(await bench.admin.send(path, body)))]).toEqual([
        path,
        409,
        'project_archived',
        null,
      ])
    }
    const { id: revoked } = await bench.admin.organization.projects.apiKeys.delete(key.id, { project_id: id })
    expect(revoked).toBe(key.id)
  })

  it('a list is walked page by page, in the order of creation, each project once', async () => {
    const made: string[] = []
    for (const name of ['1', '2', '3', '4', '5']) made.push(await bench.newProject(name))
    const walked: string[] = []
    for await (const project of bench.admin.organization.projects.list({ limit: 2 })) walked.push(project.id)
    expect(new Set(walked).size).toBe(walked.length)
    expect(walked.filter((id) => made.includes(id))).toEqual(made)
    expect(walked[0]).toBe('tenant-local')
  })

  it.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=x', 'limit'],
    ['after=proj_unknown', 'after'],
    ['include_archived=1', 'include_archived'],
    ['nonsense=1', 'nonsense'],
  ])('a list with ?%s is refused, naming the parameter', async (query, param) => {
    const refusal = await refusalOf(await bench.admin.send(`/projects?${query}`))
    expect([refusal[0], refusal[2]]).toEqual([400, param])
  })
})

describe('bodies', () => {
  const bad: [string, string, unknown, string | null][] = [
    ['no name', '/projects', {}, 'name'],
    ['an empty name', '/projects', { name: ' ' }, 'name'],
    ['a name of two lines', '/projects', { name: 'a\nb' }, 'name'],
    ['a name of 201 characters', '/projects', { name: 'n'.repeat(201) }, 'name'],
    ['a weight of 0', '/projects', { name: 'n', weight: 0 }, 'weight'],
    ['a weight of four decimals', '/projects', { name: 'n', weight: 0.0015 }, 'weight'],
    ['a weight of 1,001', '/projects', { name: 'n', weight: 1_001 }, 'weight'],
    ['a tier that is not there', '/projects', { name: 'n', tiers: ['gold'] }, 'tiers[0]'],
    ['the tier of batches', '/projects', { name: 'n', tiers: ['batch'] }, 'tiers[0]'],
    ['no tier', '/projects', { name: 'n', tiers: [] }, 'tiers'],
    ['nothing to change', '/projects/tenant-local', {}, null],
    ['a scope that is not there', '/projects/tenant-local/api_keys', { name: 'n', scopes: ['admin'] }, 'scopes[0]'],
    ['no scope', '/projects/tenant-local/api_keys', { name: 'n', scopes: [] }, 'scopes'],
    ['a life of 0 s', '/projects/tenant-local/api_keys', { name: 'n', expires_in_seconds: 0 }, 'expires_in_seconds'],
    ['half a second', '/projects/tenant-local/api_keys', { name: 'n', expires_in_seconds: 0.5 }, 'expires_in_seconds'],
    ['no address', '/projects/tenant-local/api_keys', { name: 'n', ip_allowlist: ['10.0.0.256'] }, 'ip_allowlist[0]'],
    ['no range', '/projects/tenant-local/api_keys', { name: 'n', ip_allowlist: ['10.0.0.0/33'] }, 'ip_allowlist[0]'],
    [
      'a limit below 0',
      '/projects/tenant-local/rate_limits/rl_tenant-local',
      { max_queued_tokens: -1 },
      'max_queued_tokens',
    ],
    [
      'euros',
      '/projects/tenant-local/spend_limit',
      { currency: 'EUR', interval: 'month', threshold_amount: 1 },
      'currency',
    ],
    [
      'half a cent',
      '/projects/tenant-local/spend_limit',
      { currency: 'USD', interval: 'month', threshold_amount: 0.5 },
      'threshold_amount',
    ],
  ]
  it.each(bad)('with %s are 400 and name the field', async (_name, path, body, param) => {
    const refusal = await refusalOf(await bench.admin.send(path, body))
    expect([refusal[0], refusal[2]]).toEqual([400, param])
  })
})
