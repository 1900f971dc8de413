/**
 * The token log: what a job has said so far, as entries numbered from 1 without a gap.
 *
 * Every frame a client sees is a pure function of (request, log prefix). The log does not know HTTP, and no reader
 * needs anything but the log and the record.
 */
import { z } from 'zod'
import { isErrorCode, type ErrorFacts } from './errors.ts'
import { endStatuses, type EndStatus } from './job.ts'
import { topLogprobsMax } from './limits.ts'

export const tokenChannels = ['reasoning', 'content'] as const
export type TokenChannel = (typeof tokenChannels)[number]
export const finishReasons = ['stop', 'length', 'tool_calls'] as const
export type FinishReason = (typeof finishReasons)[number]

/** Counts of an ended job; I5: completion = tokens in the log. */
export interface Usage {
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
  /** Of the completion: tokens up to and with the end of thinking. */
  readonly reasoningTokens: number
}

/** A worker began, or took over: later entries were computed under this fingerprint. */
export interface StartEntry {
  readonly kind: 'start'
  readonly epoch: number
  readonly fingerprint: string
  readonly promptTokens: number
}

/** Less likely than this is told as this, as OpenAI does: JSON has no infinity. */
export const logProbMin = -9_999

/** A token that could be chosen, and how likely it was. */
export interface TokenChance {
  /** Its text; of bytes that are no whole characters, \xNN for each; of a control token that makes no text, its spelling. */
  readonly token: string
  /** UTF-8; absent where they are those of `token`, null of a token that makes no text. */
  readonly bytes?: readonly number[] | null | undefined
  /** Natural logarithm, at least `logProbMin`. */
  readonly logProb: number
}

/** Consecutive tokens of one choice, and the text they completed: possibly none yet. */
export interface TokenEntry {
  readonly kind: 'token'
  readonly choice: number
  /** Index in the choice of the first of `tokenIds`. */
  readonly index: number
  readonly tokenIds: readonly number[]
  readonly channel: TokenChannel
  readonly text: string
  /** Where the request asked, for content: of each of `tokenIds` its own chance, then those of the likeliest in order. */
  readonly logProbs?: readonly (readonly TokenChance[])[] | undefined
}

/** The one terminal entry (I4). It has no text: what was held back stands in the last token's entry. */
export interface EndEntry {
  readonly kind: 'end'
  readonly status: EndStatus
  /** One a choice; empty when the job produced none. */
  readonly finishReasons: readonly FinishReason[]
  readonly usage: Usage
  readonly error: ErrorFacts | null
}

export type LogEntry = StartEntry | TokenEntry | EndEntry

/** An entry with its place in the log. */
export interface LogEvent {
  /** 1, 2, 3 … */
  readonly sequence: number
  readonly entry: LogEntry
}

const count = z.int().nonnegative()
const errorFacts = z.object({
  code: z.string().refine(isErrorCode),
  message: z.string(),
  param: z.string().nullable(),
})
const tokenChance = z.object({
  token: z.string(),
  bytes: z.array(z.int().min(0).max(255)).nullable().optional(),
  logProb: z.number().min(logProbMin),
})
const logEntry = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('start'), epoch: count, fingerprint: z.string(), promptTokens: count }),
  z.object({
    kind: z.literal('token'),
    choice: count,
    index: count,
    tokenIds: z.array(count),
    channel: z.enum(tokenChannels),
    text: z.string(),
    logProbs: z
      .array(
        z
          .array(tokenChance)
          .min(1)
          .max(1 + topLogprobsMax),
      )
      .optional(),
  }),
  z.object({
    kind: z.literal('end'),
    status: z.enum(endStatuses),
    finishReasons: z.array(z.enum(finishReasons)),
    usage: z.object({ promptTokens: count, cachedTokens: count, completionTokens: count, reasoningTokens: count }),
    error: errorFacts.nullable(),
  }),
])

/** Field of a stream entry that holds the JSON. */
export const logField = 'entry'

export function encodeLogEntry(entry: LogEntry): string {
  return JSON.stringify(entry)
}

/** @throws ZodError when the text is not an entry of ours. */
export function decodeLogEntry(json: string): LogEntry {
  return logEntry.parse(JSON.parse(json))
}

/** One entry of XRANGE: `[id, [field, value, …]]`. */
export function decodeStreamEntry([id, fields]: readonly [string, readonly string[]]): LogEvent {
  const value = fields[fields.indexOf(logField) + 1]
  if (value === undefined) throw new TypeError(`Log entry ${id} has no field ${logField}`)
  return { sequence: Number.parseInt(id, 10), entry: decodeLogEntry(value) }
}

/** A message of a live channel, `<jobId> <sequence> <entry>`, with the entry still as it was published. */
export function splitLiveMessage(message: string): { jobId: string; sequence: number; json: string } {
  const afterId = message.indexOf(' ')
  const afterSequence = message.indexOf(' ', afterId + 1)
  return {
    jobId: message.slice(0, afterId),
    sequence: Number(message.slice(afterId + 1, afterSequence)),
    json: message.slice(afterSequence + 1),
  }
}

export function decodeLiveMessage(message: string): { jobId: string; event: LogEvent } {
  const { jobId, sequence, json } = splitLiveMessage(message)
  return { jobId, event: { sequence, entry: decodeLogEntry(json) } }
}
