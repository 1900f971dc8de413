/**
 * What the deployment gives the Worker, and the settings read from it once.
 *
 * It knows the names and bounds of the values, not who uses them.
 */
import { z } from 'zod'

export interface Env {
  readonly DB: D1Database
  readonly BROKER: DurableObjectNamespace
  readonly REDIS_URL?: string
  readonly AXLE_ENV?: string
  readonly AXLE_PEPPER?: string
  readonly AXLE_PEPPER_ID?: string
  readonly AXLE_LANES?: string
  readonly AXLE_BROKER_SHARDS?: string
}

/** What a pepper must have: it turns a stolen table of digests into noise. */
const pepperCharsMin = 32
const pepperDistinctCharsMin = 8
const lanesMax = 64
const shardsMax = 256

const settings = z.object({
  REDIS_URL: z.string().regex(/^rediss?:\/\//, 'expected redis:// or rediss://'),
  AXLE_ENV: z.enum(['local', 'production']),
  AXLE_PEPPER: z
    .string()
    .min(pepperCharsMin)
    .refine((pepper) => new Set(pepper).size >= pepperDistinctCharsMin, 'a default or repeated text is no pepper'),
  AXLE_PEPPER_ID: z.string().min(1).default('p1'),
  AXLE_LANES: z.coerce.number().int().min(1).max(lanesMax).default(2),
  AXLE_BROKER_SHARDS: z.coerce.number().int().min(1).max(shardsMax).default(1),
})

export interface Settings {
  readonly redisUrl: string
  readonly pepper: string
  readonly pepperId: string
  readonly laneCount: number
  readonly shardCount: number
}

/** A deployment that must not serve. The message names settings, never their values. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
}

const known = new WeakMap<Env, Settings>()

/** @throws SettingsError when a value is missing, weak or out of bounds. */
export function readSettings(env: Env): Settings {
  const earlier = known.get(env)
  if (earlier !== undefined) return earlier
  const parsed = settings.safeParse(env)
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    throw new SettingsError(`The deployment's settings are not fit to serve: ${faults.join('; ')}`)
  }
  const values = parsed.data
  const read = {
    redisUrl: values.REDIS_URL,
    pepper: values.AXLE_PEPPER,
    pepperId: values.AXLE_PEPPER_ID,
    laneCount: values.AXLE_LANES,
    shardCount: values.AXLE_BROKER_SHARDS,
  }
  known.set(env, read)
  return read
}
