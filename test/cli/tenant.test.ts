/** `axle tenant`: what the terminal sets is what the gateway has, and what cannot be is said in one sentence. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { tenant } from '../../cli/tenant.ts'
import { writeReadyFile } from '../../local/ready.ts'
import { startCutProxy } from '../fixtures/cut-proxy.ts'
import { printedBy, terminalBench } from '../fixtures/terminal.ts'

/** Long enough for the gateway to have made what the lost answer told. */
const answeredByMs = 500

const bench = terminalBench()

const run = (...args: string[]) => printedBy(tenant, ...args)

async function limitsOf(id: string): Promise<unknown> {
  return bench.edge.database
    .prepare(
      `SELECT requests_per_minute, tokens_per_minute, concurrent_requests_max, queued_jobs_max, queued_tokens_max,
              monthly_budget_nano, weight_milli, tiers, default_tier FROM tenants WHERE id = ?`,
    )
    .bind(id)
    .first()
}

const everyLimit = [
  '--requests-per-minute=30',
  '--tokens-per-minute=20k',
  '--concurrent=4',
  '--queued-jobs=8',
  '--queued-tokens=1M',
  '--budget=12.50',
  '--weight=2.5',
  '--tiers=default,priority',
  '--default-tier=priority',
]
const everyColumn = {
  requests_per_minute: 30,
  tokens_per_minute: 20_000,
  concurrent_requests_max: 4,
  queued_jobs_max: 8,
  queued_tokens_max: 1_000_000,
  monthly_budget_nano: 12_500_000_000,
  weight_milli: 2_500,
  tiers: '["priority","default"]',
  default_tier: 'priority',
}

describe('axle tenant', () => {
  it('makes a tenant with every limit, its id alone on stdout', async () => {
    const { out, err, exitCode } = await run('create', 'Acme', ...everyLimit)
    expect(out).toMatch(/^proj_[0-9A-Z]{26}$/)
    expect(exitCode).toBeUndefined()
    expect(err).toMatch(/requests per minute +30\n/)
    expect(err).toMatch(/budget a month +\$12\.50\nspent +\$0\.00\n/)
    expect(await limitsOf(out)).toEqual(everyColumn)
  })

  it('changes what is named and nothing else, and takes a budget away twice without complaint', async () => {
    const { out: id } = await run('create', 'Acme', ...everyLimit)
    await run('set', id, '--requests-per-minute', '31')
    expect(await limitsOf(id)).toEqual({ ...everyColumn, requests_per_minute: 31 })
    await run('set', id, '--budget', 'none')
    const { out, exitCode } = await run('set', id, '--budget', 'none')
    expect(exitCode).toBeUndefined()
    expect(out).toMatch(/budget a month +none/)
    expect(await limitsOf(id)).toEqual({ ...everyColumn, requests_per_minute: 31, monthly_budget_nano: null })
  })

  it('lists tenants, and archived ones when asked', async () => {
    const { out: id } = await run('create', 'Gone')
    expect((await run('archive', id)).out).toContain(`${id} is archived`)
    expect((await run('list')).out).not.toContain(id)
    expect((await run('list', '--archived')).out).toMatch(new RegExp(`${id} +Gone +archived`))
  })

  it('lists more than a page of them', async () => {
    const made = await Promise.all(
      Array.from({ length: 101 }, (_, index) =>
        bench.edge.send('/v1/organization/projects', {
          headers: { authorization: `Bearer ${bench.edge.adminKey}` },
          json: { name: `many-${index}` },
        }),
      ),
    )
    expect(made.filter(({ ok }) => !ok)).toEqual([])
    const listed = z.array(z.object({ name: z.string() })).parse(JSON.parse((await run('list', '--json')).out))
    expect(new Set(listed.map(({ name }) => name).filter((name) => name.startsWith('many-'))).size).toBe(101)
  })

  it("shows the API's answers with --json", async () => {
    const { out: id } = await run('create', 'Acme', '--budget', '1')
    const shown: unknown = JSON.parse((await run('show', id, '--json')).out)
    expect(shown).toMatchObject({
      id,
      object: 'organization.project',
      rate_limit: { object: 'project.rate_limit' },
      spend_limit: { threshold_amount: 100, spent_amount: 0 },
    })
  })

  it('lets no name steer the terminal', async () => {
    await bench.edge.database
      .prepare("INSERT INTO tenants (id, name, created_at_ms) VALUES ('proj_evil', ?, 1)")
      .bind('\u001b[2Jevil')
      .run()
    expect((await run('list')).out).not.toMatch(/[^\P{Cc}\n]/u)
  })

  it.each([
    [['create', 'a', '--budget', '1.005'], "--budget: expected US dollars such as 25 or 25.50, got '1.005'"],
    [['create', 'a', '--tokens-per-minute', '-1'], '--tokens-per-minute'],
    [['create', 'a', '--requests-per-minute', '1e3'], '--requests-per-minute: expected a whole number'],
    [['create', 'a', '--tiers', 'default,'], '--tiers: expected names'],
    [['create', 'a', '--tiers', 'batch'], "'tiers"],
    [['create'], 'create: expected NAME, got nothing'],
    [['set', 'proj_1'], 'expected at least one limit'],
    [['show', 'proj_unknown'], '(not_found)'],
    [['sell', 'a'], 'No such action: sell'],
    [['list', '--nope'], 'Unknown option --nope: --help lists them all'],
  ])('refuses %j, naming what is wrong', async (args, message) => {
    const { out, err, exitCode } = await run(...args)
    expect(err).toContain(message)
    expect(out).toBe('')
    expect(exitCode).toBe(1)
  })

  it('makes nothing of a tenant whose limits cannot be read', async () => {
    await run('create', 'never-made', '--budget', 'much')
    expect((await run('list')).out).not.toContain('never-made')
  })

  it('makes one tenant of a creation whose answer was lost', async () => {
    const proxy = await startCutProxy(Number(new URL(bench.edge.url).port))
    onTestFinished(() => proxy.stop())
    vi.stubEnv('AXLE_URL', `http://127.0.0.1:${proxy.port}`)
    const lost = proxy.cutReplyTo('POST /v1/organization/projects', answeredByMs)
    const { out, exitCode } = await run('create', 'made-once')
    await lost
    expect(exitCode).toBeUndefined()
    const { results } = await bench.edge.database.prepare("SELECT id FROM tenants WHERE name = 'made-once'").all()
    expect(results).toEqual([{ id: out }])
  })

  it('finds the deployment that runs here by its ready.json, and says what to do where none does', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'axle-cli-'))
    try {
      vi.stubEnv('AXLE_URL', undefined)
      vi.stubEnv('AXLE_ADMIN_KEY', undefined)
      vi.stubEnv('AXLE_DATA_DIR', dataDir)
      expect((await run('list')).err).toMatch(/Nothing runs here: .*npm start.*AXLE_URL and AXLE_ADMIN_KEY/)
      const facts = { apiKey: bench.edge.tenantKey, adminKey: bench.edge.adminKey, model: 'm', metricsUrl: 'none' }
      writeReadyFile(dataDir, { url: bench.edge.url, ...facts, redisUrl: bench.redis.url, pid: 1 })
      expect((await run('list')).out).toContain('tenant-local')
    } finally {
      rmSync(dataDir, { recursive: true, force: true })
    }
  })

  it('never sends a key in clear text to another machine, and repeats none', async () => {
    vi.stubEnv('AXLE_URL', 'http://axle.example.com')
    const { err } = await run('list')
    expect(err).toBe('A key is sent over https:// only, or to this machine: got http://axle.example.com')
    vi.stubEnv('AXLE_URL', bench.edge.url)
    vi.stubEnv('AXLE_ADMIN_KEY', bench.edge.tenantKey)
    const refused = await run('list')
    expect(refused.err).toContain('(insufficient_scope)')
    expect(refused.err).not.toContain(bench.edge.tenantKey)
  })
})
