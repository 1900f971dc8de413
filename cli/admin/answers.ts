/** What of the Admin API's answers the terminal shows; `--json` shows all of an answer. Shapes only. */
import { z } from 'zod'

export const projectAnswer = z.looseObject({
  id: z.string(),
  name: z.string(),
  status: z.string(),
  created_at: z.number(),
  weight: z.number(),
  tiers: z.array(z.string()),
  default_tier: z.string(),
})

export const rateLimitAnswer = z.looseObject({
  id: z.string(),
  max_requests_per_1_minute: z.number(),
  max_tokens_per_1_minute: z.number(),
  max_concurrent_requests: z.number(),
  max_queued_requests: z.number(),
  max_queued_tokens: z.number(),
})

export const spendLimitAnswer = z.looseObject({
  threshold_amount: z.number(),
  /** Null while the counters cannot be asked. */
  spent_amount: z.number().nullable(),
  reserved_amount: z.number().nullable(),
})

export const adminKeyAnswer = z.looseObject({
  id: z.string(),
  name: z.string(),
  created_at: z.number(),
  last_used_at: z.number().nullable(),
  expires_at: z.number().nullable(),
})

export const keyAnswer = adminKeyAnswer.extend({
  scopes: z.array(z.string()),
  models: z.array(z.string()).nullable(),
  ip_allowlist: z.array(z.string()).nullable(),
})

/** Of a key just made: the only answer that has its text. */
export const newKeyAnswer = z.looseObject({ id: z.string(), value: z.string(), expires_at: z.number().nullable() })

export const priceAnswer = z.looseObject({
  model: z.string(),
  effective_from: z.number(),
  input: z.number(),
  cached_input: z.number(),
  output: z.number(),
  priority_percent: z.number(),
  flex_percent: z.number(),
  batch_percent: z.number(),
})

export const auditAnswer = z.looseObject({
  id: z.string(),
  type: z.string(),
  effective_at: z.number(),
  project: z.looseObject({ id: z.string(), name: z.string().nullish() }).nullish(),
  actor: z.looseObject({
    ip_address: z.string().nullish(),
    api_key: z.looseObject({ id: z.string() }).nullish(),
  }),
})
