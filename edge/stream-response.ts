/**
 * A job's log → the streamed HTTP answer: frames as entries arrive, comments while none do.
 *
 * The client's pace is the stream's: a frame is made when the last one was taken. When the client goes, the log is let
 * go of. It knows frames only as text.
 */
import type { LogEvent } from '../contract/event.ts'
import { keepAliveMs, keepAliveWaitingMs } from '../contract/limits.ts'
import type { JobLog } from './broker/client.ts'
import { factsOf } from './failure-facts.ts'
import { chatFrames, errorFrame, keepAliveFrame, streamStart, type ChatFacts } from './sse.ts'
import { within } from './within.ts'

export const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const

const utf8 = new TextEncoder()

/**
 * @param opening begins what is sent first
 * @param first the batch already under way, so that its outcome is not lost.
 * @param after events up to here were seen by the client before and shape only the state.
 * @param onFirstToken called once, if there is one.
 */
export function frameStream(
  facts: ChatFacts,
  opening: string,
  log: JobLog,
  first: Promise<LogEvent[]>,
  after: number,
  onFirstToken: () => void,
): ReadableStream<Uint8Array> {
  let batch: Promise<LogEvent[]> | null = first
  let state = streamStart
  let hasToken = false
  let unsaid = opening

  /** @returns null when there was nothing to show. */
  async function next(): Promise<{ text: string; isEnd: boolean } | null> {
    batch ??= log.next()
    const events = await within(batch, hasToken ? keepAliveMs : keepAliveWaitingMs)
    if (events === null) return { text: keepAliveFrame, isEnd: false }
    batch = null
    let text = ''
    for (const event of events) {
      const frames = chatFrames(facts, state, event)
      state = frames.state
      if (event.entry.kind === 'token' && !hasToken) {
        hasToken = true
        onFirstToken()
      }
      if (event.sequence > after) text += frames.text
      text += frames.closing
    }
    const isEnd = events.at(-1)?.entry.kind === 'end'
    return text === '' && !isEnd ? null : { text, isEnd }
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          let shown = await next()
          while (shown === null) shown = await next()
          controller.enqueue(utf8.encode(unsaid + shown.text))
          unsaid = ''
          if (shown.isEnd) controller.close()
        } catch (error) {
          controller.enqueue(utf8.encode(unsaid + errorFrame(factsOf(error))))
          controller.close()
        }
      },
      cancel: () => log.cancel(),
    },
    { highWaterMark: 0 },
  )
}
