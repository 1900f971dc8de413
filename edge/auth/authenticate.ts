/**
 * From a request to its caller, or to the one error its sender may know.
 *
 * Malformed, unknown and foreign keys are the same 401; shape and checksum are verified without I/O. The key itself
 * goes no further than this file.
 */
import { AppError } from '../../contract/errors.ts'
import { parseKey } from '../../contract/key-format.ts'
import { tellBroker } from '../broker/client.ts'
import { clientAddress, networkOf } from '../client-address.ts'
import { readSettings, type Env } from '../env.ts'
import { steadyNowMs } from '../steady-clock.ts'
import type { Caller } from './caller.ts'
import { digestsOf } from './digest.ts'
import { FailureBudget } from './failure-budget.ts'
import { KeyUses } from './key-use.ts'
import { permit } from './permission.ts'
import type { Access } from './scopes.ts'
import { KeyStore, type KeySource } from './store.ts'
import { KeyDatabase } from './stored-key.ts'

/** Longer than any key of ours: what is longer is refused unread. */
const headerCharsMax = 256

const store = new KeyStore(steadyNowMs)
const failures = new FailureBudget()
const uses = new KeyUses()

/**
 * @param behind takes work that is done behind the answer
 * @throws AppError 400, 401, 403, 429 or 503.
 */
export async function authenticate(
  request: Request,
  access: Access,
  env: Env,
  behind: (work: Promise<void>) => void,
): Promise<Caller> {
  const key = bearer(request.headers.get('authorization'))
  const parsed = parseKey(key)
  if (parsed === null) throw invalidKey()
  const settings = readSettings(env)
  const digests = digestsOf(key, settings)
  const address = clientAddress(request, settings.environment)
  const network = networkOf(address ?? 'unknown')
  if (!store.knows(digests[0].digest)) refuseTooManyFailures(network)

  const database = new KeyDatabase(env.DB)
  const stored = await store.find(digests, sourceOf(database, env))
  const nowMs = Date.now()
  if (stored === null || stored.id !== parsed.id || stored.kind !== parsed.kind) {
    failures.spend(network, steadyNowMs())
    throw invalidKey()
  }
  const caller = permit(stored, access, address, nowMs)
  const told = uses.tell(stored, digests, database, nowMs)
  if (told !== null) behind(told)
  return caller
}

function sourceOf(database: KeyDatabase, env: Env): KeySource {
  return {
    database,
    isRevoked: async (ids) => (await tellBroker(env, { kind: 'is-revoked', ids })).revoked,
  }
}

/** A key that is known never pays for others that were tried from its address. */
function refuseTooManyFailures(network: string): void {
  const waitMs = failures.waitMs(network, steadyNowMs())
  if (waitMs === 0) return
  throw new AppError(
    'rate_limit_exceeded',
    'Too many incorrect API keys from your address. Send a valid key, or try again after the time in retry-after.',
    { retryAfterMs: waitMs },
  )
}

/** The credential of an Authorization header. */
export function bearer(header: string | null): string {
  if (header === null || header.trim() === '') {
    throw new AppError('missing_api_key', 'No API key. Send it as: Authorization: Bearer axle_live_…')
  }
  // Several headers arrive joined by a comma; which of two keys is meant is not ours to guess.
  if (header.includes(',')) {
    throw new AppError('invalid_value', 'More than one Authorization header. Send exactly one.', {
      param: 'authorization',
    })
  }
  const match = header.length <= headerCharsMax ? /^Bearer +(\S+)$/i.exec(header.trim()) : null
  const key = match?.[1]
  if (key === undefined) throw invalidKey()
  return key
}

function invalidKey(): AppError {
  return new AppError('invalid_api_key', 'Incorrect API key. Send a valid one as: Authorization: Bearer axle_live_…')
}
