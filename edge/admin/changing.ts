/**
 * A handler that changes the control plane: body in, one D1 batch with its audit rows and its kept answer, answer out.
 *
 * All of a batch stands or none of it. It knows no resource: a plan says what is to be changed.
 */
import assert from 'node:assert/strict'
import type { Context, Handler } from 'hono'
import type { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import type { AppEnv } from '../app-env.ts'
import type { Caller } from '../auth/caller.ts'
import { clientAddress } from '../client-address.ts'
import { readSettings } from '../env.ts'
import { readRepetition, replayedHeader } from '../idempotency.ts'
import type { JsonObject } from '../json-body.ts'
import { readJsonBody } from '../middleware/body.ts'
import { requestError } from '../request-errors.ts'
import { auditRow, isWithoutEffect, type Actor, type AuditEvent } from './audit.ts'
import { inTime } from '../in-time.ts'
import { isInProgress, KeptAnswers, type Answer } from './kept-answers.ts'

export interface Effect {
  /** What stands or falls with it. */
  readonly before?: readonly D1PreparedStatement[]
  /** Changes at least one row, or nothing of the batch stands. */
  readonly statement: D1PreparedStatement
  readonly event: AuditEvent
}

export interface Change {
  readonly effects: readonly Effect[]
  readonly answer: object
  /** Where an effect found nothing to change: another request was faster. */
  readonly refusal: AppError
}

export type Plan<Fields> = (context: Context<AppEnv>, fields: Fields, nowMs: number) => Promise<Change>

/** Stands where a key's id does, which has eight characters. */
const bootstrapHolder = 'bootstrap'

/** @param schema strict: what it does not name is refused. */
export function changing<Fields>(schema: z.ZodType<Fields>, plan: Plan<Fields>): Handler<AppEnv> {
  return async (context) => {
    const body = await readBody(context.req.raw)
    return inTime(changeOnce(context, body, schema, plan, Date.now()))
  }
}

async function changeOnce<Fields>(
  context: Context<AppEnv>,
  body: JsonObject,
  schema: z.ZodType<Fields>,
  plan: Plan<Fields>,
  nowMs: number,
): Promise<Response> {
  const kept = keptAnswers(context, body)
  const earlier = (await kept?.find(nowMs)) ?? null
  if (earlier !== null) return respond(earlier, { [replayedHeader]: 'true' })
  const parsed = schema.safeParse(body, { reportInput: true })
  if (!parsed.success) throw requestError(parsed.error)
  const planned = await plan(context, parsed.data, nowMs)
  const answer = { status: 200, text: JSON.stringify(planned.answer) }
  await commit(context, planned, (await kept?.rows(answer, nowMs)) ?? [], nowMs)
  return respond(answer)
}

/** Nothing at all is an empty object: several changes take no field. */
async function readBody(request: Request): Promise<JsonObject> {
  const isEmpty = request.body === null || request.headers.get('content-length') === '0'
  return isEmpty ? {} : readJsonBody(request)
}

function keptAnswers(context: Context<AppEnv>, body: JsonObject): KeptAnswers | null {
  const { headers } = context.req.raw
  const { idempotency } = readRepetition(headers, `${context.req.method} ${context.req.path}`, body)
  const text = headers.get('idempotency-key')
  if (idempotency === null || text === null) return null
  const { pepper, previousPepper } = readSettings(context.env)
  const peppers = previousPepper === null ? [pepper] : [pepper, previousPepper.text]
  return new KeptAnswers(context.env.DB, actorKeyId(context) ?? bootstrapHolder, idempotency, { peppers, text })
}

async function commit(
  context: Context<AppEnv>,
  change: Change,
  answerRows: readonly D1PreparedStatement[],
  nowMs: number,
): Promise<void> {
  assert(change.effects.length > 0, 'a change changes something')
  const db = context.env.DB
  const actor = actorOf(context)
  const effects = change.effects.flatMap(({ before = [], statement, event }) => [
    ...before,
    statement,
    auditRow(db, event, actor, nowMs),
  ])
  try {
    await db.batch([...answerRows, ...effects])
  } catch (error) {
    if (isWithoutEffect(error)) throw change.refusal
    if (!isInProgress(error)) throw error
    throw new AppError(
      'idempotency_in_progress',
      'A request with this Idempotency-Key is under way. Try again shortly.',
      {
        retryAfterMs: 1_000,
      },
    )
  }
}

/** Null for the bootstrap secret, which is no key. */
function actorKeyId(context: Context<AppEnv>): string | null {
  const caller: Caller | undefined = context.get('caller')
  return caller?.keyId ?? null
}

function actorOf(context: Context<AppEnv>): Actor {
  return {
    keyId: actorKeyId(context),
    address: clientAddress(context.req.raw, readSettings(context.env).environment),
    requestId: context.get('requestId'),
  }
}

function respond({ status, text }: Answer, headers: Record<string, string> = {}): Response {
  // It may hold a new key.
  const always = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  return new Response(text, { status, headers: { ...always, ...headers } })
}
