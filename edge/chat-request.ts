/**
 * The body of POST /v1/chat/completions → what a job needs, or the error that names the parameter.
 *
 * Strict: an unknown parameter is an error; a known one that the model cannot honour is an error unless it asks for
 * nothing; one without influence on the answer is accepted and ignored. `null` always means "not given", as with
 * OpenAI. Pure: knows no HTTP, no tenant, and not which model is served.
 */
import { z } from 'zod'
import type { ChatMessage, JobRequest } from '../contract/job.ts'
import type { ServiceTier } from '../contract/quota.ts'
import { messagesMax, modelIdBytesMax, stopStringBytesMax, stopStringsMax } from '../contract/limits.ts'
import type { JsonObject } from './json-body.ts'
import { chooseMode, effortNames, type ModeChoice } from './mode.ts'
import { refuse, requestError } from './request-errors.ts'
import { checkSampling, samplingFields, samplingOf } from './sampling-parameters.ts'

export interface ChatRequest {
  readonly model: string
  readonly isStream: boolean
  readonly includeUsage: boolean
  readonly includeLogProbs: boolean
  readonly mode: ModeChoice
  /** `auto`: the project's default. */
  readonly tier: RequestTier
  readonly seed: number | null
  readonly request: Omit<JobRequest, 'thinking'>
}

/** Those a request may ask for; the batch tier belongs to batches. */
const requestTiers = ['auto', 'default', 'flex', 'priority'] as const satisfies readonly (ServiceTier | 'auto')[]
type RequestTier = (typeof requestTiers)[number]

/** @throws AppError 400. */
export function parseChatRequest(body: JsonObject): ChatRequest {
  const parsed = chatBody.safeParse(body, { reportInput: true })
  if (!parsed.success) throw requestError(parsed.error)
  const given = parsed.data
  const mode = chooseMode(
    {
      reasoningEffort: given.reasoning_effort ?? null,
      reasoningObjectEffort: given.reasoning?.effort ?? null,
      thinkingType: given.thinking?.type ?? null,
      enableThinking: given.chat_template_kwargs?.enable_thinking ?? null,
      thinkingKwarg: given.chat_template_kwargs?.thinking ?? null,
    },
    given.messages,
  )
  return {
    model: given.model,
    isStream: given.stream ?? false,
    includeUsage: given.stream_options?.include_usage ?? false,
    includeLogProbs: given.logprobs ?? false,
    mode,
    tier: given.service_tier ?? 'auto',
    seed: given.seed ?? null,
    request: {
      messages: given.messages,
      maxTokens: given.max_completion_tokens ?? given.max_tokens ?? null,
      ...samplingOf(given),
      stop: given.stop ?? [],
    },
  }
}

/** Identifiers of the client's own bookkeeping. */
const labelCharsMax = 512
const metadataEntriesMax = 16

const utf8 = new TextEncoder()
const bytesAtMost = (max: number) => (text: string) => utf8.encode(text).length <= max

/** What to say of a tag that no branch has; of anything else, what everyone says. */
function unknownTag(expectation: string) {
  return { error: (issue: { readonly code?: string }) => (issue.code === 'invalid_union' ? expectation : undefined) }
}

/** A parameter we know and cannot honour: fine only where it asks for nothing. */
function unsupported(isNeutral: (value: unknown) => boolean, wayOut: string) {
  return z
    .unknown()
    .superRefine((value, context) => {
      if (value !== null && value !== undefined && !isNeutral(value)) refuse(context, 'unsupported_parameter', wayOut)
    })
    .optional()
}

const is =
  (...neutral: unknown[]) =>
  (value: unknown) =>
    neutral.includes(value)
const isEmptyList = (value: unknown) => Array.isArray(value) && value.length === 0
const never = () => false
const notYet = 'is not supported'
const only = (neutral: string) => `must be ${neutral}: other values are not supported`

const textPart = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('text'), text: z.string() }),
    z.looseObject({ type: z.enum(['image_url', 'input_audio', 'file', 'refusal']) }).transform((_part, context) => {
      refuse(context, 'unsupported_parameter', 'is of a kind this model does not take: send text')
      return { text: '' }
    }),
  ],
  unknownTag("expected 'text'"),
)
const content = z.union(
  [
    z.string(),
    z
      .array(textPart)
      .min(1)
      .transform((parts) => parts.map((part) => part.text).join('')),
  ],
  'expected a string or an array of text parts',
)
const name = z.string().max(labelCharsMax).nullish()

const instruction = { content, name }
const message = z.discriminatedUnion(
  'role',
  [
    z
      .strictObject({ role: z.enum(['system', 'developer']), ...instruction })
      .transform((given): ChatMessage => ({ role: 'system', content: given.content })),
    z
      .strictObject({ role: z.literal('user'), ...instruction })
      .transform((given): ChatMessage => ({ role: 'user', content: given.content })),
    z
      .strictObject({
        role: z.literal('assistant'),
        content: content.nullish(),
        name,
        reasoning_content: z.string().nullish(),
        reasoning: z.string().nullish(),
        refusal: unsupported(never, notYet),
        audio: unsupported(never, notYet),
        tool_calls: unsupported(isEmptyList, notYet),
        function_call: unsupported(never, notYet),
        annotations: unsupported(isEmptyList, notYet),
      })
      .transform((given): ChatMessage => {
        const reasoning = given.reasoning_content ?? given.reasoning ?? null
        const answer = { role: 'assistant' as const, content: given.content ?? '' }
        return reasoning === null ? answer : { ...answer, reasoning_content: reasoning }
      }),
    z.looseObject({ role: z.enum(['tool', 'function']) }).transform((_given, context): ChatMessage => {
      refuse(context, 'unsupported_parameter', 'has a role of tool calling, which is not supported')
      return z.NEVER
    }),
  ],
  unknownTag("expected 'system', 'developer', 'user' or 'assistant'"),
)

const tokenCount = z.int().min(1).nullish()
const stopString = z
  .string()
  .min(1)
  .refine(bytesAtMost(stopStringBytesMax), `expected at most ${stopStringBytesMax} bytes`)
const label = z.string().max(labelCharsMax).nullish()
const effort = z.enum(effortNames).nullish()

const chatBody = z
  .strictObject({
    model: z.string().min(1).refine(bytesAtMost(modelIdBytesMax), `expected at most ${modelIdBytesMax} bytes`),
    messages: z.array(message).min(1).max(messagesMax),
    stream: z.boolean().nullish(),
    stream_options: z
      .strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() })
      .nullish(),
    max_tokens: tokenCount,
    max_completion_tokens: tokenCount,
    ...samplingFields,
    seed: z.int().nullish(),
    stop: z
      .union(
        [stopString.transform((text) => [text]), z.array(stopString).max(stopStringsMax)],
        `expected a string or an array of at most ${stopStringsMax} strings`,
      )
      .nullish(),

    reasoning_effort: effort,
    reasoning: z.strictObject({ effort }).nullish(),
    thinking: z
      .strictObject({
        type: z.enum(['enabled', 'disabled', 'auto']),
        budget_tokens: unsupported(never, 'is not supported yet: bound the whole answer with max_completion_tokens'),
      })
      .nullish(),
    chat_template_kwargs: z
      .strictObject({ enable_thinking: z.boolean().nullish(), thinking: z.boolean().nullish() })
      .nullish(),

    n: z
      .int()
      .min(1)
      .superRefine((count, context) => {
        if (count !== 1) refuse(context, 'unsupported_parameter', 'must be 1: send one request for each choice')
      })
      .nullish(),
    tools: unsupported(isEmptyList, notYet),
    tool_choice: unsupported(is('none', 'auto'), notYet),
    functions: unsupported(isEmptyList, notYet),
    function_call: unsupported(is('none', 'auto'), notYet),
    response_format: z.looseObject({ type: unsupported(is('text'), only("'text'")) }).nullish(),
    modalities: unsupported(
      (value) => Array.isArray(value) && value.every((kind) => kind === 'text'),
      only("['text']"),
    ),
    audio: unsupported(never, notYet),
    prediction: unsupported(never, notYet),
    web_search_options: unsupported(never, notYet),
    verbosity: unsupported(is('medium'), only("'medium'")),
    store: unsupported(is(false), only('false')),
    service_tier: z
      .string()
      .transform((given, context) => {
        const tier = requestTiers.find((known) => known === given)
        if (tier === undefined)
          refuse(context, 'unsupported_parameter', "must be 'auto', 'default', 'flex' or 'priority'")
        return tier ?? z.NEVER
      })
      .nullish(),

    parallel_tool_calls: z.boolean().nullish(),
    user: label,
    safety_identifier: label,
    prompt_cache_key: label,
    prompt_cache_retention: label,
    // Counted before its entries are looked at.
    metadata: z
      .record(z.string(), z.unknown())
      .refine(
        (entries) => Object.keys(entries).length <= metadataEntriesMax,
        `expected at most ${metadataEntriesMax} entries`,
      )
      .refine(
        (entries) => Object.keys(entries).every((key) => key.length <= labelCharsMax),
        `expected names of at most ${labelCharsMax} characters`,
      )
      .pipe(z.record(z.string(), z.string().max(labelCharsMax)))
      .nullish(),
  })
  .superRefine((given, context) => {
    const limits = [given.max_tokens, given.max_completion_tokens].filter(
      (limit) => limit !== null && limit !== undefined,
    )
    if (new Set(limits).size > 1) {
      const text = 'max_tokens and max_completion_tokens differ. Send one of them.'
      refuse(context, 'contradictory_parameters', text, ['max_completion_tokens'])
    }
    checkSampling(given, limits[0] ?? null, context)
    if (given.stream_options !== null && given.stream_options !== undefined && given.stream !== true) {
      refuse(context, 'invalid_value', 'it is allowed only when stream is true', ['stream_options'])
    }
  })
