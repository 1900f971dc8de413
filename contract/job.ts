/**
 * A job: one request a tenant made, from admission to its one end.
 *
 * The record lives in Redis as a hash of strings and only the scripts in `contract/lua/` change it. This file knows its
 * shape and its states; not who changes them or why.
 */
import { z } from 'zod'
import type { JobId } from './ids.ts'
import * as limits from './limits.ts'
import { serviceTiers, type ServiceTier } from './quota.ts'

export const endStatuses = ['completed', 'incomplete', 'failed', 'expired', 'cancelled'] as const
export type EndStatus = (typeof endStatuses)[number]
export const jobStatuses = ['accepted', 'queued', 'running', ...endStatuses] as const
/** accepted → queued → running (→ running, epoch + 1) → one of the ends; terminal is final. */
export type JobStatus = (typeof jobStatuses)[number]

export function isEnd(status: JobStatus): status is EndStatus {
  return endStatuses.some((end) => end === status)
}

/** Think or Non-Think, after every spelling of it was normalised. */
export interface Thinking {
  readonly think: boolean
  readonly effort: 'none' | 'minimal' | 'low' | 'medium' | 'high' | null
  /** Upper bound of reasoning tokens; null is none. */
  readonly budget: number | null
}

const chatMessage = z.discriminatedUnion('role', [
  z.object({ role: z.literal('system'), content: z.string() }),
  z.object({ role: z.literal('user'), content: z.string() }),
  z.object({ role: z.literal('assistant'), content: z.string(), reasoning_content: z.string().optional() }),
])
/** A message as the chat template takes it. */
export type ChatMessage = z.infer<typeof chatMessage>

const penalty = z.number().min(-limits.penaltyMax).max(limits.penaltyMax).nullable().default(null)

const jobRequest = z.object({
  messages: z.array(chatMessage),
  thinking: z.object({
    think: z.boolean(),
    effort: z.enum(['none', 'minimal', 'low', 'medium', 'high']).nullable(),
    budget: z.int().nonnegative().nullable(),
  }),
  maxTokens: z.int().positive().nullable(),
  temperature: z.number().nonnegative().nullable(),
  topP: z.number().positive().max(1).nullable(),
  /** 0 is off. */
  topK: z.int().nonnegative().max(limits.topKMax).nullable(),
  minP: z.number().nonnegative().max(1).nullable(),
  stop: z.array(z.string()),
  // Records written before these were known lack them.
  frequencyPenalty: penalty,
  presencePenalty: penalty,
  repetitionPenalty: z
    .number()
    .min(1 / limits.repetitionPenaltyMax)
    .max(limits.repetitionPenaltyMax)
    .nullable()
    .default(null),
  /** Token ids and what is added to their logits. */
  logitBias: z
    .array(
      z.tuple([
        z.int().nonnegative().max(limits.topKMax),
        z.number().min(-limits.logitBiasMax).max(limits.logitBiasMax),
      ]),
    )
    .max(limits.biasedTokensMax)
    .default([]),
  /** Before so many tokens no end token is chosen and no stop string looked for. */
  minTokens: z.int().nonnegative().nullable().default(null),
  /** Tell the log probabilities of each token of the content, and of so many of the likeliest; null tells none. */
  topLogprobs: z.int().nonnegative().max(limits.topLogprobsMax).nullable().default(null),
})
/**
 * What the worker needs to answer: validated and normalised by the edge, and in the GPU's range; null = the model's
 * default.
 */
export type JobRequest = z.infer<typeof jobRequest>

/** A job record as the worker and the janitor see it. */
export interface JobRecord {
  readonly id: JobId
  readonly status: JobStatus
  readonly tenantId: string
  readonly model: string
  readonly lane: number
  readonly priority: number
  readonly tier: ServiceTier
  readonly seed: bigint
  readonly epoch: number
  /** Entries in the token log. */
  readonly entryCount: number
  readonly admittedAtMs: number
  /** First claim, ms of Redis time; 0 before it. */
  readonly claimedAtMs: number
  readonly isCancelled: boolean
  readonly request: JobRequest
}

/** What a request says of its tokens that wants nothing but the model's own choice. */
export const nothingSteered = {
  frequencyPenalty: null,
  presencePenalty: null,
  repetitionPenalty: null,
  logitBias: [],
  minTokens: null,
  topLogprobs: null,
} satisfies Partial<JobRequest>

export function encodeJobRequest(request: JobRequest): string {
  return JSON.stringify(request)
}

export function decodeJobRequest(json: string): JobRequest {
  return jobRequest.parse(JSON.parse(json))
}

const decimal = z.string().regex(/^-?\d+$/)
const integer = decimal.transform(Number)
const recordFields = z.object({
  status: z.enum(jobStatuses),
  tenantId: z.string(),
  model: z.string(),
  lane: integer,
  priority: integer,
  tier: z.enum(serviceTiers),
  seed: decimal.transform(BigInt),
  epoch: integer,
  entryCount: integer,
  admittedAtMs: integer,
  claimedAtMs: integer,
  cancel: z.enum(['0', '1']),
  request: z.string(),
})

/** @throws ZodError when the hash is not a record of ours. */
export function decodeJobRecord(id: JobId, hash: Readonly<Record<string, string>>): JobRecord {
  const { cancel, request, ...fields } = recordFields.parse(hash)
  return { id, ...fields, isCancelled: cancel === '1', request: decodeJobRequest(request) }
}
