/**
 * Whether a Redis may drop what it accepted when its memory is full: jobs, logs and bills live in it alone.
 *
 * It reads what INFO says and asks nobody.
 */

/** The one under which writes are refused instead. */
const keepingPolicy = 'noeviction'

export const evictionWayOut =
  'Set its maxmemory-policy to noeviction, as infra/redis.conf does: redis-cli CONFIG SET maxmemory-policy noeviction'

/** @returns the policy that evicts; null where none does, or where a hosted Redis does not tell. */
export function evictingPolicy(info: string): string | null {
  const policy = /^maxmemory_policy:(.+)$/m.exec(info)?.[1]?.trim()
  return policy === undefined || policy === keepingPolicy ? null : policy
}

export function evictionMessage(policy: string): string {
  return `The Redis that REDIS_URL names evicts keys when its memory is full (maxmemory-policy ${policy}): accepted jobs and bills could vanish`
}
