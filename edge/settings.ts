/**
 * The settings of a deployment: names, bounds, and what makes a secret too weak to serve with.
 *
 * It knows neither Cloudflare nor who uses them: the Worker judges its environment by it, a deploy what it uploads.
 */
import { z } from 'zod'

/** What a secret must have: a pepper turns a stolen table of digests into noise, a bootstrap secret makes an admin. */
const secretCharsMin = 32
const secretDistinctCharsMin = 8
/** In texts that stand in examples. Long enough that none comes up in a random secret. */
const defaultWords = /changeme|change-me|change_me|default|password|example|placeholder|replace|bootstrap|your-secret/i
const lanesMax = 64
const shardsMax = 256

const secret = z
  .string()
  .min(secretCharsMin)
  .refine((text) => new Set(text).size >= secretDistinctCharsMin && !isRepetition(text), 'a repeated text is no secret')
  .refine((text) => !defaultWords.test(text), 'a default text is no secret')

const schema = z
  .object({
    REDIS_URL: z.string().regex(/^rediss?:\/\//, 'expected redis:// or rediss://'),
    AXLE_ENV: z.enum(['local', 'production']),
    AXLE_PEPPER: secret,
    AXLE_PEPPER_ID: z.string().min(1).default('p1'),
    AXLE_PEPPER_PREVIOUS: secret.optional(),
    AXLE_PEPPER_PREVIOUS_ID: z.string().min(1).optional(),
    AXLE_BOOTSTRAP_SECRET: secret.optional(),
    AXLE_LANES: z.coerce.number().int().min(1).max(lanesMax).default(2),
    AXLE_BROKER_SHARDS: z.coerce.number().int().min(1).max(shardsMax).default(1),
  })
  .refine((values) => (values.AXLE_PEPPER_PREVIOUS === undefined) === (values.AXLE_PEPPER_PREVIOUS_ID === undefined), {
    path: ['AXLE_PEPPER_PREVIOUS_ID'],
    message: 'the previous pepper and its id come together',
  })
  .refine((values) => values.AXLE_PEPPER_PREVIOUS_ID !== values.AXLE_PEPPER_ID, {
    path: ['AXLE_PEPPER_PREVIOUS_ID'],
    message: 'another pepper has another id',
  })

export interface Pepper {
  readonly id: string
  readonly text: string
}

export interface Settings {
  readonly environment: 'local' | 'production'
  readonly redisUrl: string
  readonly pepper: string
  readonly pepperId: string
  /** Digests made under it are still found, and made anew under the current one. */
  readonly previousPepper: Pepper | null
  /** Makes the first admin key, once; null: nobody can. */
  readonly bootstrapSecret: string | null
  readonly laneCount: number
  readonly shardCount: number
}

/** A deployment that must not serve. The message names settings, never their values. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
}

/**
 * @param given by the settings' names; others are let be
 * @throws SettingsError when a value is missing, weak or out of bounds.
 */
export function parseSettings(given: unknown): Settings {
  const parsed = schema.safeParse(given)
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    throw new SettingsError(`The deployment's settings are not fit to serve: ${faults.join('; ')}`)
  }
  const values = parsed.data
  const { AXLE_PEPPER_PREVIOUS: previousText, AXLE_PEPPER_PREVIOUS_ID: previousId } = values
  return {
    environment: values.AXLE_ENV,
    redisUrl: values.REDIS_URL,
    pepper: values.AXLE_PEPPER,
    pepperId: values.AXLE_PEPPER_ID,
    previousPepper:
      previousText === undefined || previousId === undefined ? null : { id: previousId, text: previousText },
    bootstrapSecret: values.AXLE_BOOTSTRAP_SECRET ?? null,
    laneCount: values.AXLE_LANES,
    shardCount: values.AXLE_BROKER_SHARDS,
  }
}

/** A short text, written again and again. */
function isRepetition(text: string): boolean {
  for (let periodChars = 1; periodChars <= text.length / 2; periodChars++) {
    if (text.startsWith(text.slice(periodChars))) return true
  }
  return false
}
