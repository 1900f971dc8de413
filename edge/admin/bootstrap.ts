/**
 * POST /v1/organization/bootstrap: the deployment's secret makes the first admin key, once.
 *
 * Who does not have the secret cannot tell this route from one that does not exist. It knows no other way to an admin
 * key.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import { AppError } from '../../contract/errors.ts'
import type { AppEnv } from '../app-env.ts'
import { readSettings } from '../env.ts'
import { notFound } from '../middleware/errors.ts'
import { adminFacts, adminKeyObject } from './admin-keys.ts'
import { changing, type Plan } from './changing.ts'
import { noFields } from './fields.ts'
import { newKeyRow } from './key-row.ts'

export const bootstrapPath = '/v1/organization/bootstrap'

const planFirstKey: Plan<object> = ({ env }, _fields, nowMs) => {
  const facts = { ...adminFacts, name: 'bootstrap' }
  const { value, row, statement } = newKeyRow(env.DB, readSettings(env), null, facts, nowMs)
  // The table takes one row: a second one changes nothing, and then no key stands either.
  const once = env.DB.prepare('INSERT OR IGNORE INTO bootstrap (id, admin_key_id, used_at_ms) VALUES (1, ?, ?)')
  const effect = {
    before: [statement],
    statement: once.bind(row.id, nowMs),
    event: {
      type: 'organization.admin_api_key.created',
      projectId: null,
      resourceId: row.id,
      details: { data: { name: row.name } },
    },
  } as const
  const refusal = new AppError(
    'already_exists',
    'The bootstrap secret was used. Make further admin keys with an admin key.',
  )
  return Promise.resolve({ effects: [effect], answer: { ...adminKeyObject(row), value }, refusal })
}

const makeFirstKey = changing(noFields, planFirstKey)

export function bootstrap(context: Context<AppEnv>, next: () => Promise<void>) {
  const { bootstrapSecret } = readSettings(context.env)
  if (!isSecret(context.req.header('authorization') ?? '', bootstrapSecret)) notFound()
  return makeFirstKey(context, next)
}

/** Compared by digests, in a time that tells nothing. */
function isSecret(header: string, secret: string | null): boolean {
  return secret !== null && timingSafeEqual(sha256(header), sha256(`Bearer ${secret}`))
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}
