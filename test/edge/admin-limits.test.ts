/** A project's limits and its budget as OpenAI's SDK sees them. */
import { describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
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

  it('what was spent and is reserved is told to the nano-dollar, and the month that ended is over', async () => {
    const project = await bench.newProject()
    const { spendLimit } = bench.admin.organization.projects
    await spendLimit.update(project, { currency: 'USD', interval: 'month', threshold_amount: 1 })
    const now = new Date()
    const month = now.getUTCFullYear() * 100 + now.getUTCMonth() + 1
    const counters = { month, spentNano: 9_999_999, reservedNano: 0, generation: 0 }
    const redis = bench.redis.connect()
    await redis.hset(keys.cell, 'generation', 0)
    const told = async (changes: Partial<typeof counters>) => {
      await redis.hset(keys.quota(project), { ...counters, ...changes })
      return spendLimit.retrieve(project)
    }
    expect(await told({})).toMatchObject({ spent_amount: 0.009999999, enforcement: { status: 'inactive' } })
    const reserved = await told({ reservedNano: 1 })
    expect(reserved).toMatchObject({ reserved_amount: 0.000000001, enforcement: { status: 'enforcing' } })
    expect(await told({ month: month - 100 })).toMatchObject({ spent_amount: 0, enforcement: { status: 'inactive' } })
  })

  it('of counters that Redis lost D1 has the bill', async () => {
    const project = await bench.newProject()
    const { spendLimit } = bench.admin.organization.projects
    await bench.edge.database
      .prepare(
        `INSERT INTO usage_jobs VALUES ('job-of-the-bill', ?, 'key', 'model', 0, 'default', 'completed', 1, 0, 1, 0,
           7000000, 0, 3000000, ?, ?)`,
      )
      .bind(project, Date.now(), Date.now())
      .run()
    const set = await spendLimit.update(project, { currency: 'USD', interval: 'month', threshold_amount: 1 })
    expect(set).toMatchObject({ spent_amount: 0.01, enforcement: { status: 'enforcing' } })
  })

  it('while Redis is away a budget is set all the same, and what is spent is not known', async () => {
    const project = await bench.newProject()
    const { spendLimit } = bench.admin.organization.projects
    await bench.redis.kill()
    const set = await spendLimit.update(project, { currency: 'USD', interval: 'month', threshold_amount: 1 })
    expect(set).toMatchObject({ threshold_amount: 1, spent_amount: null, reserved_amount: null })
    await bench.redis.start()
  })
})
