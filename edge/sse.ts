/**
 * Log entries → the chat.completion.chunk frames of a stream, one reducer: `(facts, state, event) → frames`.
 *
 * Every frame is a function of the request and the log up to its entry (I3), so any reader at any time gets the same
 * bytes. `id:` is the entry's place in the log and stands on the last frame made of that entry; comments and [DONE]
 * have none. What is sent first begins with `retry:`, a function of the job. It knows no socket and no clock.
 */
import { errorBody, type ErrorFacts } from '../contract/errors.ts'
import type { EndEntry, LogEvent, TokenEntry, Usage } from '../contract/event.ts'
import { spread, type JobId } from '../contract/ids.ts'
import { reconnectMs } from '../contract/limits.ts'
import type { ServiceTier } from '../contract/quota.ts'
import { endError } from './job-end.ts'
import { logProbContent, logProbsObject } from './log-probs.ts'

/** What every chunk of one answer repeats. */
export interface ChatFacts {
  /** `chatcmpl-…` */
  readonly id: string
  readonly model: string
  /** Unix seconds of the job's creation. */
  readonly created: number
  /** The one that served the request. */
  readonly tier: ServiceTier
  readonly includeUsage: boolean
  readonly includeLogProbs: boolean
}

export interface StreamState {
  /** Of the last start entry: a takeover by another fingerprint shows from there on. Null before the first. */
  readonly fingerprint: string | null
}

export interface Frames {
  readonly state: StreamState
  /** Server-sent events, each with its blank line; empty for an entry that shows nothing. */
  readonly text: string
  /** [DONE] after an answer's end: also for a reader that has seen all frames before it. */
  readonly closing: string
}

export const streamStart: StreamState = { fingerprint: null }
const doneFrame = 'data: [DONE]\n\n'
export const keepAliveFrame = ': keep-alive\n\n'

/**
 * Opens every stream: when to come back should it break. Each job has its own moment, so that a crowd does not return
 * at once.
 */
export function reconnectField(jobId: JobId): string {
  const { from, below } = reconnectMs
  return `retry: ${from + spread(jobId, below - from)}\n`
}

export function chatFrames(facts: ChatFacts, state: StreamState, { sequence, entry }: LogEvent): Frames {
  switch (entry.kind) {
    case 'start': {
      const next = { fingerprint: entry.fingerprint }
      const isFirst = state.fingerprint === null
      return shown(next, isFirst ? frame(choiceChunk(facts, next, roleDelta, null), sequence) : '')
    }
    case 'token':
      return shown(state, tokenFrame(facts, state, entry, sequence))
    case 'end':
      return {
        ...shown(state, endFrames(facts, state, entry, sequence)),
        closing: endError(entry) === null ? doneFrame : '',
      }
    default:
      return entry satisfies never
  }
}

/** The last frame of a stream that broke: no [DONE] follows, so that no client takes the answer for whole. */
export function errorFrame(facts: ErrorFacts, sequence: number | null = null): string {
  return frame(errorBody(facts), sequence)
}

/** OpenAI's usage object. */
export function usageObject(usage: Usage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
  }
}

/** None for tokens without text, unless there is more to tell of them. */
function tokenFrame(facts: ChatFacts, state: StreamState, entry: TokenEntry, sequence: number): string {
  const told = facts.includeLogProbs ? logProbContent(entry) : []
  if (entry.text === '' && told.length === 0) return ''
  const logProbs = facts.includeLogProbs && entry.channel === 'content' ? logProbsObject(told) : null
  return frame(choiceChunk(facts, state, deltaOf(entry), null, logProbs), sequence)
}

function endFrames(facts: ChatFacts, state: StreamState, entry: EndEntry, sequence: number): string {
  const error = endError(entry)
  if (error !== null) return errorFrame(error, sequence)
  const last = choiceChunk(facts, state, {}, entry.finishReasons[0] ?? 'stop')
  if (!facts.includeUsage) return frame(last, sequence)
  const usage = { ...chunk(facts, state), choices: [], usage: usageObject(entry.usage) }
  return frame(last, null) + frame(usage, sequence)
}

function shown(state: StreamState, text: string): Frames {
  return { state, text, closing: '' }
}

const roleDelta = { role: 'assistant', content: '' }

/** Reasoning goes out under both names in use; the answer under one. */
function deltaOf(entry: TokenEntry) {
  return entry.channel === 'reasoning'
    ? { reasoning_content: entry.text, reasoning: entry.text }
    : { content: entry.text }
}

function choiceChunk(
  facts: ChatFacts,
  state: StreamState,
  delta: object,
  finishReason: string | null,
  logProbs: object | null = null,
) {
  return {
    ...chunk(facts, state),
    choices: [{ index: 0, delta, logprobs: logProbs, finish_reason: finishReason }],
    ...(facts.includeUsage ? { usage: null } : {}),
  }
}

function chunk(facts: ChatFacts, state: StreamState) {
  return {
    id: facts.id,
    object: 'chat.completion.chunk',
    created: facts.created,
    model: facts.model,
    service_tier: facts.tier,
    system_fingerprint: state.fingerprint,
  }
}

/** Characters that some clients take for line ends although the event-stream format does not. */
const lineSeparators = /[\u0085\u2028\u2029]/g

function frame(body: object, sequence: number | null): string {
  const json = JSON.stringify(body).replace(
    lineSeparators,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `${sequence === null ? '' : `id: ${sequence}\n`}data: ${json}\n\n`
}
