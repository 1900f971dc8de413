/**
 * A job's log → the unstreamed HTTP answer.
 *
 * The status stays open as long as it can: until the answer is whole, until a worker has been at it for
 * `keepAliveWaitingMs`, or until it has waited for one for `keepAliveMs`. From then on line feeds, which JSON allows before
 * a value, go out: only a write shows that a client is gone, and proxies take silence for death. A failure after that
 * ends in the error object and a broken transfer, which no client mistakes for an answer.
 */
import { AppError, errorBody, type ErrorFacts } from '../contract/errors.ts'
import type { LogEvent } from '../contract/event.ts'
import { keepAliveMs, keepAliveWaitingMs } from '../contract/limits.ts'
import type { JobLog } from './broker/client.ts'
import { chatCompletion } from './completion.ts'
import { factsOf } from './failure-facts.ts'
import type { ChatFacts } from './sse.ts'
import { within } from './within.ts'

const utf8 = new TextEncoder()

/** @throws AppError for a failure that is known before the status has to go out. */
export async function wholeResponse(
  facts: ChatFacts,
  log: JobLog,
  headers: Readonly<Record<string, string>>,
): Promise<Response> {
  const first = log.next()
  const answer = readToEnd(log, first).then((events) => chatCompletion(facts, events))
  // A slow client may not be asking at the moment the answer fails.
  answer.catch(() => undefined)
  const hasBegun = (await within(first, keepAliveMs)) !== null
  const early = hasBegun ? await within(answer, keepAliveWaitingMs) : null
  if (early !== null) return Response.json(early, { headers })
  return new Response(patientStream(answer, log), { headers: { 'content-type': 'application/json', ...headers } })
}

async function readToEnd(log: JobLog, first: Promise<LogEvent[]>): Promise<LogEvent[]> {
  const events = [...(await first)]
  while (events.at(-1)?.entry.kind !== 'end') events.push(...(await log.next()))
  return events
}

function patientStream(answer: Promise<object>, log: JobLog): ReadableStream<Uint8Array> {
  let failure: ErrorFacts | null = null
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (failure !== null) return controller.error(new AppError(failure.code, failure.message))
        try {
          const whole = await within(answer, keepAliveWaitingMs)
          controller.enqueue(utf8.encode(whole === null ? '\n' : JSON.stringify(whole)))
          if (whole !== null) controller.close()
        } catch (error) {
          failure = factsOf(error)
          controller.enqueue(utf8.encode(JSON.stringify(errorBody(failure))))
        }
      },
      cancel: () => log.cancel(),
    },
    { highWaterMark: 0 },
  )
}
