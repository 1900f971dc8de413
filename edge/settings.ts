/**
 * The settings of a deployment: names, bounds, and what makes a secret too weak to serve with.
 *
 * It knows neither Cloudflare nor who uses them: the Worker judges its environment by it, a deploy what it uploads.
 */
import { z } from 'zod'

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

/**
 * @param values by the settings' names; others are let be
 * @throws SettingsError when a value is missing, weak or out of bounds.
 */
export function parseSettings(values: unknown): Settings {
  const parsed = settings.safeParse(values)
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    throw new SettingsError(`The deployment's settings are not fit to serve: ${faults.join('; ')}`)
  }
  const { data } = parsed
  return {
    redisUrl: data.REDIS_URL,
    pepper: data.AXLE_PEPPER,
    pepperId: data.AXLE_PEPPER_ID,
    laneCount: data.AXLE_LANES,
    shardCount: data.AXLE_BROKER_SHARDS,
  }
}
