/**
 * A project's budget of a UTC month: set, told with what is spent and reserved, taken away.
 *
 * It enforces nothing: admission does, against the counters whose state is told here.
 */
import type { Context } from 'hono'
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import { nanoPerUsd } from '../../contract/money.ts'
import { monthOf } from '../../contract/month.ts'
import type { AppEnv } from '../app-env.ts'
import { tellBroker } from '../broker/client.ts'
import type { Env } from '../env.ts'
import { monthSpendNano } from '../usage/month-spend.ts'
import { changing } from './changing.ts'
import { noFields } from './fields.ts'
import { idFrom, missing } from './lookup.ts'
import { archived, findOpenProject, findProject, updateProject } from './project-row.ts'

const nanoPerCent = nanoPerUsd / 100
/** Nine million dollars: sums of nano-USD stay whole in a double up to there. */
const budgetCentsMax = 900_000_000
const budgetFields = z.strictObject({
  currency: z.literal('USD'),
  interval: z.literal('month'),
  threshold_amount: z.int().min(0).max(budgetCentsMax),
})
const budgetRow = z.object({ monthly_budget_nano: z.number().nullable() })

export async function retrieveSpendLimit(context: Context<AppEnv>): Promise<Response> {
  const { id } = await findProject(context.env.DB, idFrom(context, 'project'))
  const budgetNano = await findBudget(context.env.DB, id)
  return Response.json(spendLimitObject(budgetNano, await spendOf(context.env, id, Date.now())))
}

export const changeSpendLimit = changing(budgetFields, async (context, fields, nowMs) => {
  const { env } = context
  const { id } = await findOpenProject(env.DB, idFrom(context, 'project'))
  const budgetNano = fields.threshold_amount * nanoPerCent
  const statement = updateProject(env.DB, id, { monthly_budget_nano: budgetNano })
  const event = {
    type: 'spend_limit.updated',
    projectId: id,
    resourceId: id,
    details: { changes_requested: fields },
  } as const
  const answer = spendLimitObject(budgetNano, await spendOf(env, id, nowMs))
  return { effects: [{ statement, event }], answer, refusal: archived() }
})

export const deleteSpendLimit = changing(noFields, async (context) => {
  const { DB: db } = context.env
  const { id } = await findOpenProject(db, idFrom(context, 'project'))
  await findBudget(db, id)
  const statement = updateProject(db, id, { monthly_budget_nano: null })
  const event = { type: 'spend_limit.deleted', projectId: id, resourceId: id } as const
  const answer = { object: 'project.spend_limit.deleted', deleted: true }
  return { effects: [{ statement, event }], answer, refusal: archived() }
})

/** @throws AppError not_found where none is set. */
async function findBudget(db: D1Database, projectId: string): Promise<number> {
  const row = await db.prepare('SELECT monthly_budget_nano FROM tenants WHERE id = ?').bind(projectId).first()
  const budgetNano = row === null ? null : budgetRow.parse(row).monthly_budget_nano
  if (budgetNano === null) throw missing()
  return budgetNano
}

interface Spend {
  readonly spentNano: number
  readonly reservedNano: number
}

/** Null while the counters cannot be asked: a limit is told and set all the same. */
async function spendOf(env: Env, tenantId: string, nowMs: number): Promise<Spend | null> {
  try {
    const { month, spentNano, reservedNano } = await tellBroker(env, { kind: 'spend', tenantId })
    const current = monthOf(nowMs)
    if (month === current) return { spentNano, reservedNano }
    // Counters that know no month are fresh ones: then D1 has the bill.
    return { spentNano: month === 0 ? await monthSpendNano(env.DB, tenantId, current) : 0, reservedNano }
  } catch (error) {
    if (error instanceof AppError && error.code === 'queue_unavailable') return null
    throw error
  }
}

function spendLimitObject(budgetNano: number, spend: Spend | null) {
  const isReached = spend !== null && spend.spentNano + spend.reservedNano >= budgetNano
  return {
    object: 'project.spend_limit',
    currency: 'USD',
    interval: 'month',
    threshold_amount: budgetNano / nanoPerCent,
    enforcement: { status: isReached ? 'enforcing' : 'inactive' },
    spent_amount: spend === null ? null : spend.spentNano / nanoPerUsd,
    reserved_amount: spend === null ? null : spend.reservedNano / nanoPerUsd,
  }
}
