/**
 * Clients of the cell under chaos: each asks one question as a stream, reads to the end, or leaves at a token of its
 * choice. A refused admission is asked again, as an SDK does; a stream that began must never need that.
 *
 * They know no fault. The seed they send names their question, in the job's record too.
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { readEvents } from '../fixtures/event-stream.ts'
import type { Stack } from '../fixtures/stack.ts'

export interface ChaosQuestion {
  readonly seed: number
  readonly content: string
  readonly think: boolean
  readonly temperature: number
}

const texts = ['Count from 1 to 90 then 1 to 90', 'What is 4821 + 397?', '23 곱하기 14은?', 'Count from 1 to 30']

/** Greedy and sampled, in both modes. */
export const questions: readonly ChaosQuestion[] = texts.flatMap((content, index) =>
  [0, 0.8].flatMap((temperature) =>
    [false, true].map((think) => ({
      seed: 1 + 4 * index + 2 * Number(think) + Number(temperature > 0),
      content,
      think,
      temperature,
    })),
  ),
)

export interface Told {
  readonly question: ChaosQuestion
  /** Reasoning and content, in the order in which they came. */
  readonly text: string
  /** Null when the client left before the end. */
  readonly finishReason: string | null
  /** Admissions refused because Redis was away. */
  readonly refusals: number
  /** Longest time between two frames with text. */
  readonly longestWaitMs: number
}

const askDeadlineMs = 120_000
const retryMs = 250
const chunkShape = z.object({
  error: z.object({ code: z.string().nullable(), message: z.string() }).optional(),
  choices: z
    .array(
      z.object({
        delta: z.object({ content: z.string().nullish(), reasoning_content: z.string().nullish() }),
        finish_reason: z.string().nullable(),
      }),
    )
    .default([]),
})

/** @param leaveAfterFrames the client leaves behind that many frames of text; null: it stays. */
export async function ask(stack: Stack, question: ChaosQuestion, leaveAfterFrames: number | null): Promise<Told> {
  const leaving = new AbortController()
  const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(askDeadlineMs)])
  let refusals = 0
  let response = await post(stack, question, signal)
  while (response.status === 503) {
    refusals += 1
    await response.body?.cancel()
    await delay(retryMs, undefined, { signal })
    response = await post(stack, question, signal)
  }
  assert.equal(response.status, 200, `A question is answered, not ${response.status}`)
  let [text, frameCount, longestWaitMs, lastMs] = ['', 0, 0, performance.now()]
  let finishReason: string | null = null
  let isDone = false
  try {
    for await (const { data } of readEvents(response)) {
      if (data === null) continue
      isDone = data === '[DONE]'
      if (isDone) continue
      const chunk = chunkShape.parse(JSON.parse(data))
      assert.equal(chunk.error, undefined, `A stream that began breaks: ${JSON.stringify(chunk.error)}`)
      const [choice] = chunk.choices
      finishReason = choice?.finish_reason ?? finishReason
      const piece = choice?.delta.reasoning_content ?? choice?.delta.content ?? ''
      if (piece === '') continue
      text += piece
      frameCount += 1
      const nowMs = performance.now()
      longestWaitMs = Math.max(longestWaitMs, nowMs - lastMs)
      lastMs = nowMs
      if (leaveAfterFrames !== null && frameCount >= leaveAfterFrames) leaving.abort()
    }
  } catch (error) {
    if (!leaving.signal.aborted) throw error
    return { question, text, finishReason: null, refusals, longestWaitMs }
  }
  if (leaving.signal.aborted) return { question, text, finishReason: null, refusals, longestWaitMs }
  assert(isDone && finishReason !== null, 'A stream ends with a reason and [DONE]')
  return { question, text, finishReason, refusals, longestWaitMs }
}

function post(stack: Stack, question: ChaosQuestion, signal: AbortSignal): Promise<Response> {
  const { content, think, temperature, seed } = question
  return fetch(`${stack.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: stack.model,
      messages: [{ role: 'user', content }],
      stream: true,
      seed,
      temperature,
      reasoning_effort: think ? 'medium' : 'none',
    }),
    signal,
  })
}
