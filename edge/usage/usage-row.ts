/**
 * What one ended job used and cost: a row of the usage stream, as `end-job.lua` writes it, parsed.
 *
 * It knows neither the stream nor where rows go.
 */
import { z } from 'zod'
import { endStatuses } from '../../contract/job.ts'

const count = z.coerce.number().int().nonnegative()
const fields = z.object({
  jobId: z.string(),
  tenantId: z.string(),
  keyId: z.string(),
  model: z.string(),
  isThinking: z.enum(['0', '1']).transform((digit) => digit === '1'),
  tier: z.string(),
  status: z.enum(endStatuses),
  promptTokens: count,
  cachedTokens: count,
  completionTokens: count,
  reasoningTokens: count,
  inputNano: count,
  cachedNano: count,
  outputNano: count,
  admittedAtMs: count,
  endedAtMs: count,
})

type Fields = z.infer<typeof fields>

export interface UsageRow extends Omit<Fields, 'promptTokens' | 'completionTokens'> {
  readonly streamId: string
  readonly inputTokens: number
  readonly outputTokens: number
}

/**
 * @param flat field, value, field, value, … as a stream entry holds them
 * @throws ZodError when they are not a row of ours.
 */
export function decodeUsageRow(streamId: string, flat: readonly string[]): UsageRow {
  const hash: Record<string, string> = {}
  for (let i = 0; i + 1 < flat.length; i += 2) hash[flat[i] ?? ''] = flat[i + 1] ?? ''
  const { promptTokens, completionTokens, ...rest } = fields.parse(hash)
  return { streamId, ...rest, inputTokens: promptTokens, outputTokens: completionTokens }
}
