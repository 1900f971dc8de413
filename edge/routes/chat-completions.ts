/**
 * POST /v1/chat/completions: validate, order the job, answer from its log, streamed or whole.
 *
 * A job that ends in failure before its first token is a plain HTTP error with its code's status; later it is an error
 * frame. Every answer to an admitted request, and to its repetition, says what is left of the limits. It knows neither
 * Redis nor how a job runs.
 */
import { decodeTime } from 'ulid'
import type { Context } from 'hono'
import type { LogEvent } from '../../contract/event.ts'
import { firstTokenCounts } from '../../contract/gateway-counters.ts'
import { newJobId, publicId } from '../../contract/ids.ts'
import { headersAfterMs } from '../../contract/limits.ts'
import type { AppEnv } from '../app-env.ts'
import { tenantOf } from '../auth/caller.ts'
import { orderJob, type OpenJob } from '../broker/client.ts'
import type { Opening } from '../broker/protocol.ts'
import { parseChatRequest, type ChatRequest } from '../chat-request.ts'
import { count } from '../gateway-counters.ts'
import { readRepetition, replayedHeader } from '../idempotency.ts'
import { endError, JobFailure } from '../job-end.ts'
import { readJsonBody } from '../middleware/body.ts'
import { answerError } from '../middleware/errors.ts'
import { modeName } from '../mode.ts'
import { setRateHeaders } from '../rate-headers.ts'
import { reconnectField, type ChatFacts } from '../sse.ts'
import { frameStream, streamHeaders } from '../stream-response.ts'
import { wholeResponse } from '../whole-response.ts'
import { within } from '../within.ts'

export const chatCompletionsPath = '/v1/chat/completions'
/** Says which mode answers, which matters when the server was left to choose. */
const modeHeader = 'x-axle-mode'
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
  try {
    if (!chat.isStream) return await wholeResponse(facts, job.log, headers)
    return await streamed(facts, job, after, headers, () => {
      if (!job.opening.isReplay) count(context, firstTokenCounts(Date.now() - context.get('arrivedAtMs')))
    })
  } catch (error) {
    // Under a key the failure is kept as an answer is: the same request gets no other.
    const isKept = error instanceof JobFailure && idempotency !== null
    const answer = answerError(isKept ? new JobFailure(error.facts, false) : error, context)
    for (const [name, value] of Object.entries(headers)) answer.headers.set(name, value)
    return answer
  }
}

function headersOf({ isThinking, rate, isReplay }: Opening): Record<string, string> {
  const headers = new Headers({ [modeHeader]: modeName(isThinking) })
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
  { jobId, log }: OpenJob,
  after: number,
  headers: Record<string, string>,
  onFirstToken: () => void,
): Promise<Response> {
  const first = log.next()
  const events = await within(first, headersAfterMs)
  if (events !== null) throwEarlyFailure(events)
  const body = frameStream(facts, reconnectField(jobId), log, first, after, onFirstToken)
  return new Response(body, { headers: { ...streamHeaders, ...headers } })
}

function throwEarlyFailure(events: readonly LogEvent[]): void {
  const [first] = events
  const error = first?.entry.kind === 'end' ? endError(first.entry) : null
  if (error !== null) throw new JobFailure(error)
}
