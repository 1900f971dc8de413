/**
 * `axle tenant`: projects of the Admin API, each a tenant with its limits and budget. It knows no key and no price.
 */
import type { z } from 'zod'
import { type AdminApi, ApiRefusal } from './admin-api.ts'
import { projectAnswer, rateLimitAnswer, spendLimitAnswer } from './admin/answers.ts'
import { type Call, runAction } from './admin/command.ts'
import { facts, table } from './admin/table.ts'
import { cents, count, decimal, fieldsOf, names, text, usd } from './admin/values.ts'

const help = `npm run --silent axle -- tenant list [--archived]
npm run --silent axle -- tenant show TENANT
npm run --silent axle -- tenant create NAME [limits]       prints the new tenant's id
npm run --silent axle -- tenant set TENANT [--name NAME] [limits]
npm run --silent axle -- tenant archive TENANT             final: its keys are refused from then on

Limits hold over all keys of a tenant, within 5 seconds of being set:
  --requests-per-minute N   admitted in any 60 seconds (600)
  --tokens-per-minute N     prompt and answer; what a request could use counts until it ends (1M)
  --concurrent N            requests admitted and not yet answered (100)
  --queued-jobs N           of those, requests that wait for a worker (1,000)
  --queued-tokens N         and their tokens at the worst case (10M)
  --budget USD|none         a calendar month (UTC); beyond it requests are refused as insufficient_quota (none)
  --weight W                share of the GPUs under contention, next to other tenants' weights (1)
  --tiers LIST              service tiers its requests may name, of priority,default,flex (default,flex)
  --default-tier TIER       for requests that name none (default)

  --json                    the API's answers as they are

The deployment is AXLE_URL with AXLE_ADMIN_KEY, or the one that runs from AXLE_DATA_DIR (.axle).`

const rateFields = {
  'requests-per-minute': ['max_requests_per_1_minute', count],
  'tokens-per-minute': ['max_tokens_per_1_minute', count],
  concurrent: ['max_concurrent_requests', count],
  'queued-jobs': ['max_queued_requests', count],
  'queued-tokens': ['max_queued_tokens', count],
} as const
const projectFields = {
  weight: ['weight', decimal],
  tiers: ['tiers', names],
  'default-tier': ['default_tier', text],
} as const
const limitOptions = [...Object.keys(rateFields), ...Object.keys(projectFields), 'budget']

export function tenant(args: string[]): Promise<void> {
  return runAction(args, help, {
    list: { operands: [], flags: ['archived'], run: list },
    show: { operands: ['TENANT'], run: show },
    create: { operands: ['NAME'], options: limitOptions, run: create },
    set: { operands: ['TENANT'], options: ['name', ...limitOptions], run: set },
    archive: { operands: ['TENANT'], run: archive },
  })
}

async function list(call: Call): Promise<void> {
  const projects = await call.api.list('/v1/organization/projects', projectAnswer, {
    include_archived: call.has('archived') ? 'true' : undefined,
  })
  const rows = projects.map(({ id, name, status, weight, tiers }) => [id, name, status, `${weight}`, tiers.join(',')])
  call.tell(
    projects,
    table(['TENANT', 'NAME', 'STATUS', 'WEIGHT', 'TIERS'], rows, 'No tenants yet: tenant create NAME'),
  )
}

async function show(call: Call): Promise<void> {
  const state = await readState(call.api, call.operand(0))
  call.tell(state, described(state))
}

async function create(call: Call): Promise<void> {
  const limits = readLimits(call)
  const body = { name: call.operand(0), ...limits.project }
  const { id } = await call.api.post('/v1/organization/projects', projectAnswer, body)
  try {
    await setLimits(call.api, id, limits)
  } catch (error) {
    throw new Error(`Made ${id}, but its limits are not set: ${messageOf(error)}`, { cause: error })
  }
  const state = await readState(call.api, id)
  call.hand(state, id, described(state))
}

async function set(call: Call): Promise<void> {
  const id = call.operand(0)
  const limits = readLimits(call)
  const project = { ...fieldsOf(call, { name: ['name', text] }), ...limits.project }
  const isNothing = [project, limits.rate].every((fields) => Object.keys(fields).length === 0)
  if (isNothing && limits.budget === undefined)
    throw new TypeError('set: expected at least one limit; --help lists them')
  if (Object.keys(project).length > 0) await call.api.post(projectPath(id), projectAnswer, project)
  await setLimits(call.api, id, limits)
  const state = await readState(call.api, id)
  call.tell(state, described(state))
}

async function archive(call: Call): Promise<void> {
  const project = await call.api.post(`${projectPath(call.operand(0))}/archive`, projectAnswer, {})
  call.tell(project, `${project.id} is archived: its keys are refused from now on.`)
}

interface Limits {
  readonly project: Record<string, unknown>
  readonly rate: Record<string, unknown>
  /** Cents; null: none; undefined: as it is. */
  readonly budget: number | null | undefined
}

/** All of them, before anything is changed. */
function readLimits(call: Call): Limits {
  const budget = call.option('budget')
  return {
    project: fieldsOf(call, projectFields),
    rate: fieldsOf(call, rateFields),
    budget: budget === undefined ? undefined : budget === 'none' ? null : cents(budget, '--budget'),
  }
}

async function setLimits(api: AdminApi, id: string, { rate, budget }: Limits): Promise<void> {
  if (Object.keys(rate).length > 0) {
    const { id: limit } = await rateLimitOf(api, id)
    await api.post(`${projectPath(id)}/rate_limits/${encodeURIComponent(limit)}`, rateLimitAnswer, rate)
  }
  if (budget === undefined) return
  const path = `${projectPath(id)}/spend_limit`
  if (budget === null) await unlessMissing(api.delete(path))
  else await api.post(path, spendLimitAnswer, { currency: 'USD', interval: 'month', threshold_amount: budget })
}

interface State extends z.infer<typeof projectAnswer> {
  readonly rate_limit: z.infer<typeof rateLimitAnswer>
  readonly spend_limit: z.infer<typeof spendLimitAnswer> | null
}

async function readState(api: AdminApi, id: string): Promise<State> {
  const project = await api.get(projectPath(id), projectAnswer)
  const [rateLimit, spendLimit] = await Promise.all([
    rateLimitOf(api, id),
    unlessMissing(api.get(`${projectPath(id)}/spend_limit`, spendLimitAnswer)),
  ])
  return { ...project, rate_limit: rateLimit, spend_limit: spendLimit }
}

async function rateLimitOf(api: AdminApi, id: string): Promise<z.infer<typeof rateLimitAnswer>> {
  const [limit] = await api.list(`${projectPath(id)}/rate_limits`, rateLimitAnswer)
  if (limit === undefined) throw new Error(`${id} has no rate limit: this is no deployment of this version`)
  return limit
}

/** A tenant without a budget has no spend limit, which the API answers like any missing thing. */
async function unlessMissing<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof ApiRefusal && error.status === 404) return null
    throw error
  }
}

function described({
  id,
  name,
  status,
  weight,
  tiers,
  default_tier,
  rate_limit: rate,
  spend_limit: spend,
}: State): string {
  return facts([
    ['tenant', id],
    ['name', name],
    ['status', status],
    ['requests per minute', number(rate.max_requests_per_1_minute)],
    ['tokens per minute', number(rate.max_tokens_per_1_minute)],
    ['concurrent requests', number(rate.max_concurrent_requests)],
    ['queued jobs', number(rate.max_queued_requests)],
    ['queued tokens', number(rate.max_queued_tokens)],
    ['budget a month', spend === null ? 'none' : usd(spend.threshold_amount / 100)],
    ...(spend === null
      ? []
      : [['spent', usd(spend.spent_amount)] as const, ['reserved', usd(spend.reserved_amount)] as const]),
    ['weight', `${weight}`],
    ['tiers', `${tiers.join(',')} (${default_tier} unless named)`],
  ])
}

function number(value: number): string {
  return value.toLocaleString('en')
}

function projectPath(id: string): string {
  return `/v1/organization/projects/${encodeURIComponent(id)}`
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
