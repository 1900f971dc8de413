/** A project's limits and its budget as OpenAI's SDK sees them. */
import { describe, expect, it } from 'vitest'
import { adminBench } from '../fixtures/admin-bench.ts'

const bench = adminBench()

describe('limits', () => {
  it('a project has one rate limit for all models, changed field by field', async () => {
    const project = await bench.newProject()
    const { rateLimits } = bench.admin.organization.projects
    const [limit] = (await rateLimits.listRateLimits(project)).data
    expect(limit).toEqual({
      id: `rl_${project}`,
      object: 'project.rate_limit',
      model: '*',
      max_requests_per_1_minute: 600,
      max_tokens_per_1_minute: 1_000_000,
      max_concurrent_requests: 100,
      max_queued_requests: 1_000,
      max_queued_tokens: 10_000_000,
    })
    const changed = await rateLimits.updateRateLimit(`rl_${project}`, {
      project_id: project,
      max_requests_per_1_minute: 0,
    })
    expect(changed).toEqual({ ...limit, max_requests_per_1_minute: 0 })
    expect(await bench.admin.tell(`/projects/${project}/rate_limits/rl_${project}`, { max_queued_tokens: 7 })).toEqual({
      ...changed,
      max_queued_tokens: 7,
    })
    expect((await rateLimits.listRateLimits(project)).data).toEqual([{ ...changed, max_queued_tokens: 7 }])
  })

  it('a budget is set in cents, told with what is spent and reserved in dollars, and taken away', async () => {
    const project = await bench.newProject()
    const { spendLimit } = bench.admin.organization.projects
    await expect(spendLimit.retrieve(project)).rejects.toMatchObject({ status: 404, code: 'not_found' })
    const set = await spendLimit.update(project, { currency: 'USD', interval: 'month', threshold_amount: 12_345 })
    expect(set).toEqual({
      object: 'project.spend_limit',
      currency: 'USD',
      interval: 'month',
      threshold_amount: 12_345,
      enforcement: { status: 'inactive' },
      spent_amount: 0,
      reserved_amount: 0,
    })
    expect(await spendLimit.retrieve(project)).toEqual(set)
    const stored = bench.edge.database
      .prepare('SELECT monthly_budget_nano AS nano FROM tenants WHERE id = ?')
      .bind(project)
    expect(await stored.first()).toEqual({ nano: 123_450_000_000 })
    expect(await spendLimit.delete(project)).toEqual({ object: 'project.spend_limit.deleted', deleted: true })
    await expect(spendLimit.delete(project)).rejects.toMatchObject({ status: 404 })
    expect(await stored.first()).toEqual({ nano: null })
  })

  it('a budget of nothing is reached from the start', async () => {
    const project = await bench.newProject()
    const { spendLimit } = bench.admin.organization.projects
    const set = await spendLimit.update(project, { currency: 'USD', interval: 'month', threshold_amount: 0 })
    expect(set.enforcement.status).toBe('enforcing')
  })
})
