/**
 * POST /v1/chat/completions: validate, order the job, answer from its log, streamed or whole.
 *
 * A job that ends in failure before its first token is a plain HTTP error with its code's status; later it is an error
 * frame. It knows neither Redis nor how a job runs.
 */
import { decodeTime } from 'ulid'
import type { Context } from 'hono'
import { AppError } from '../../contract/errors.ts'
import type { LogEvent } from '../../contract/event.ts'
import { newJobId, publicId } from '../../contract/ids.ts'
import { headersAfterMs } from '../../contract/limits.ts'
import type { AppEnv } from '../app-env.ts'
import { tenantOf } from '../auth/caller.ts'
import { orderJob, type OpenJob } from '../broker/client.ts'
import type { Opening } from '../broker/protocol.ts'
import { parseChatRequest, type ChatRequest } from '../chat-request.ts'
import { readRepetition } from '../idempotency.ts'
import { endError } from '../job-end.ts'
import { readJsonBody } from '../middleware/body.ts'
import { setRateHeaders } from '../rate-headers.ts'
import type { ChatFacts } from '../sse.ts'
import { frameStream, streamHeaders } from '../stream-response.ts'
import { wholeResponse } from '../whole-response.ts'
import { within } from '../within.ts'

export const chatCompletionsPath = '/v1/chat/completions'
/** Says which mode answers, which matters when the server was left to choose. */
export const modeHeader = 'x-axle-mode'
/** The answer is of an earlier request with the same Idempotency-Key. */
export const replayedHeader = 'idempotent-replayed'
const jobIdRandomBytes = 16

export async function chatCompletions(context: Context<AppEnv>): Promise<Response> {
  const { kind: _kind, expiresAtMs: keyExpiresAtMs, ...terms } = tenantOf(context)
  const request = context.req.raw
  const body = await readJsonBody(request)
  const chat = parseChatRequest(body)
  const { idempotency, after } = readRepetition(request.headers, chatCompletionsPath, body)
  const job = await orderJob(
    context.env,
    {
      jobId: newJobId(Date.now(), crypto.getRandomValues(new Uint8Array(jobIdRandomBytes))),
      ...terms,
      keyExpiresAtMs,
      tier: chat.tier,
      model: chat.model,
      mode: chat.mode,
      seed: chat.seed,
      request: chat.request,
      idempotency,
    },
    after,
    request.signal,
  )
  const facts = chatFacts(chat, job)
  const headers = headersOf(job.opening)
  return chat.isStream ? streamed(facts, job, after, headers) : wholeResponse(facts, job.log, headers)
}

function headersOf({ isThinking, rate, isReplay }: Opening): Record<string, string> {
  const headers = new Headers({ [modeHeader]: isThinking ? 'think' : 'non-think' })
  if (rate !== null) setRateHeaders(headers, rate)
  if (isReplay) headers.set(replayedHeader, 'true')
  return Object.fromEntries(headers)
}

function chatFacts(chat: ChatRequest, { jobId, opening }: OpenJob): ChatFacts {
  return {
    id: publicId('chat', jobId),
    model: opening.model,
    tier: opening.tier,
    created: Math.floor(decodeTime(jobId) / 1000),
    includeUsage: chat.includeUsage,
    includeLogProbs: chat.includeLogProbs,
  }
}

async function streamed(
  facts: ChatFacts,
  { log }: OpenJob,
  after: number,
  headers: Record<string, string>,
): Promise<Response> {
  const first = log.next()
  const events = await within(first, headersAfterMs)
  if (events !== null) throwEarlyFailure(events)
  return new Response(frameStream(facts, log, first, after), { headers: { ...streamHeaders, ...headers } })
}

function throwEarlyFailure(events: readonly LogEvent[]): void {
  const [first] = events
  const error = first?.entry.kind === 'end' ? endError(first.entry) : null
  if (error !== null) throw new AppError(error.code, error.message, { param: error.param })
}
