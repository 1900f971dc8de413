/**
 * A bill of one job as both sides have it, D1's table and Redis' stream, and the sums that bills add up to.
 *
 * It knows neither side.
 */
import { z } from 'zod'
import { modeName } from '../../edge/mode.ts'
import type { UsageRow } from '../../edge/usage/usage-row.ts'

const counts = {
  input_tokens: z.int(),
  input_cached_tokens: z.int(),
  output_tokens: z.int(),
  output_reasoning_tokens: z.int(),
}
const group = {
  project_id: z.string(),
  api_key_id: z.string(),
  model: z.string(),
  mode: z.string(),
  service_tier: z.string(),
}

/** As `/v1/organization/usage/jobs` lists it. */
export const bill = z.object({
  job_id: z.string(),
  status: z.string(),
  ...group,
  ...counts,
  input_nano: z.int(),
  cached_input_nano: z.int(),
  output_nano: z.int(),
  ended_at_ms: z.int(),
})
export type Bill = z.infer<typeof bill>

/** Of one minute and one group. */
export const minuteSum = z.object({ ...group, ...counts, num_model_requests: z.int() })
export type MinuteSum = z.infer<typeof minuteSum> & { readonly start_time: number }

/** A row that waits to be drained, as D1 will have it. */
export function billOfRow(row: UsageRow): Bill {
  return {
    job_id: row.jobId,
    status: row.status,
    project_id: row.tenantId,
    api_key_id: row.keyId,
    model: row.model,
    mode: modeName(row.isThinking),
    service_tier: row.tier,
    input_tokens: row.inputTokens,
    input_cached_tokens: row.cachedTokens,
    output_tokens: row.outputTokens,
    output_reasoning_tokens: row.reasoningTokens,
    input_nano: row.inputNano,
    cached_input_nano: row.cachedNano,
    output_nano: row.outputNano,
    ended_at_ms: row.endedAtMs,
  }
}

export function costOf({ input_nano, cached_input_nano, output_nano }: Bill): number {
  return input_nano + cached_input_nano + output_nano
}

/** What tells one minute's sum from another. */
export function sumKey(startSeconds: number, of: Pick<Bill, keyof typeof group>): string {
  return JSON.stringify([startSeconds, of.project_id, of.api_key_id, of.model, of.mode, of.service_tier])
}
