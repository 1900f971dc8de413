/**
 * The whole product, from `npm start`, as its user meets it: the `openai` SDK, both modes, both languages, alone and 16
 * at once, steered and told of, tokens as they are made, a client that leaves, a worker that is killed.
 *
 * Greedy answers of one deployment must be equal however they were asked for; those with a frozen answer of the
 * reference must equal it. The reduced form asks fewer questions, not other ones.
 */
import assert from 'node:assert/strict'
import OpenAI from 'openai'
import { z } from 'zod'
import { parseJobId } from '../../contract/ids.ts'
import { keys } from '../../contract/keys.ts'
import { takeoverBudgetMs } from '../../contract/limits.ts'
import { type Stack, startStack } from '../fixtures/stack.ts'
import { loadQuestions, type Question, requestOf } from './serving-questions.ts'
import { steering, tokensSteered } from './serving-steering.ts'

const concurrency = 16
const disconnectBudgetMs = 3_000
const pollMs = 20
/** Of an answer of some dozens of tokens, on a busy machine. */
const piecesMin = 4
const shortQuestion = 'What is 4821 + 397?'
/** 261 tokens. */
const longQuestion = 'Count from 1 to 90 then 1 to 90'
/** Of axk1-tiny: an answer that may not end sooner goes on for seconds, however fast the engine is. */
const contextTokens = 2_048

interface Answer {
  readonly content: string
  readonly reasoning: string
  readonly finishReason: string
  readonly completionTokens: number
  readonly reasoningTokens: number
}

/** Fields that open reasoning models add to OpenAI's shape, under both of their names. */
const reasoningFields = z.object({ reasoning_content: z.string().nullish(), reasoning: z.string().nullish() })

export async function serving(options: { full: boolean }): Promise<void> {
  const questions = await loadQuestions(options.full)
  const stack = await startStack()
  const client = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: stack.apiKey, maxRetries: 0 })
  try {
    const alone = await answersAlone(client, stack.model, questions)
    await answersTogether(client, stack.model, questions, alone)
    await tokensSteered(client, stack.model)
    await tokensAsMade(stack)
    await clientLeaves(stack)
    const counting = { content: longQuestion, expected: null }
    await workerDies(stack, client, options.full ? 5 : 1, { ...counting, think: false }, steering)
    if (options.full) await workerDies(stack, client, 5, { ...counting, think: true })
    assert.equal(await stack.stop(), 0, 'npm start exits 0 after SIGTERM')
  } catch (error) {
    console.error(stack.output())
    throw error
  } finally {
    await stack.stop()
  }
}

async function answersAlone(client: OpenAI, model: string, questions: readonly Question[]): Promise<Answer[]> {
  const answers: Answer[] = []
  for (const question of questions) {
    const whole = await ask(client, model, question)
    const streamed = await askStreaming(client, model, question)
    assert.deepEqual(streamed, whole, `Streamed and not are equal: ${question.content}`)
    if (question.expected !== null) {
      assert.equal(whole.content, question.expected.content, `Equals the reference: ${question.content}`)
      assert.equal(whole.reasoning, question.expected.reasoning ?? '', `Thinks like the reference: ${question.content}`)
    }
    assert.equal(whole.reasoningTokens > 0, question.think, `Reasoning tokens only when thinking: ${question.content}`)
    answers.push(whole)
  }
  console.log(
    `  ${answers.length} questions, streamed and not, alone: equal, and equal to the reference where it is frozen`,
  )
  return answers
}

async function answersTogether(
  client: OpenAI,
  model: string,
  questions: readonly Question[],
  alone: readonly Answer[],
): Promise<void> {
  let asked = 0
  for (let first = 0; first < questions.length; first += concurrency / 2) {
    const indexes = Array.from({ length: concurrency }, (_, i) => (first + i) % questions.length)
    const together = await Promise.all(
      indexes.map((index, i) => {
        const question = questions[index]
        assert(question !== undefined)
        return i % 2 === 0 ? ask(client, model, question) : askStreaming(client, model, question)
      }),
    )
    for (const [i, index] of indexes.entries()) assert.deepEqual(together[i], alone[index], 'I14: equal in any batch')
    asked += concurrency
  }
  console.log(`  ${asked} answers, ${concurrency} at once: each equals the one it gets alone`)
}

/** Arrival times of the frames that carry text: most tokens must come in a chunk of their own, spread over the answer. */
async function tokensAsMade(stack: Stack): Promise<void> {
  const response = await post(stack, { content: shortQuestion, think: true })
  const startedMs = performance.now()
  const arrivals: number[] = []
  let frames = 0
  for await (const chunk of decode(response)) {
    const count = chunk.split('"reasoning_content":"').length - 1
    if (count > 0) arrivals.push(performance.now() - startedMs)
    frames += count
  }
  const spreadMs = (arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0)
  const totalMs = performance.now() - startedMs
  assert(frames > 10, `An answer of some length, got ${frames} frames`)
  // A fast engine's tokens join on their way when the machine is busy; an answer kept back would be one piece.
  assert(arrivals.length >= piecesMin, `Tokens come as they are made, not ${frames} in ${arrivals.length} pieces`)
  assert(spreadMs > totalMs / 4, `Tokens are spread over the answer: ${spreadMs} of ${totalMs} ms`)
  console.log(`  ${frames} reasoning frames in ${arrivals.length} pieces over ${spreadMs.toFixed(0)} ms`)
}

async function clientLeaves(stack: Stack): Promise<void> {
  for (const stream of [true, false]) {
    const abort = new AbortController()
    const question = { content: longQuestion, think: true }
    const leaving = post(stack, question, { stream, minTokens: contextTokens, signal: abort.signal })
    const gone = leaving.then((response) => response.text()).catch(() => null)
    const [jobId] = await until(
      async () => (await stack.connection.zrange(keys.open, '0', '-1')).map(parseJobId).filter((id) => id !== null),
      (ids) => ids.length > 0,
      'the job is admitted',
    )
    assert(jobId !== undefined)
    const field = (name: string) => stack.connection.hget(keys.job(jobId), name)
    await until(
      () => field('completionTokens'),
      (count) => Number(count) > 5,
      'it answers',
    )
    abort.abort()
    assert.equal(await gone, null, 'the client left before the end')
    const leftMs = performance.now()
    await until(
      () => field('status'),
      (status) => status === 'cancelled',
      'the engine drops the sequence',
    )
    const tokens = await field('completionTokens')
    console.log(
      `  client left (${stream ? 'stream' : 'no stream'}): dropped ${elapsed(leftMs)} later, at ${tokens} tokens`,
    )
  }
}

async function workerDies(
  stack: Stack,
  client: OpenAI,
  times: number,
  question: Question,
  more: Partial<typeof steering> = {},
): Promise<void> {
  const request = { ...requestOf(stack.model, question), ...more }
  const [choice] = (await client.chat.completions.create(request)).choices
  const whole = (reasoningFields.parse(choice?.message).reasoning ?? '') + (choice?.message.content ?? '')
  for (let round = 0; round < times; round++) {
    const stream = await client.chat.completions.create({ ...request, stream: true })
    const tokens: OpenAI.ChatCompletionTokenLogprob[] = []
    let text = ''
    let longestWaitMs = 0
    let lastMs = performance.now()
    let isKilled = false
    for await (const chunk of stream) {
      longestWaitMs = Math.max(longestWaitMs, performance.now() - lastMs)
      lastMs = performance.now()
      const delta = chunk.choices[0]?.delta
      tokens.push(...(chunk.choices[0]?.logprobs?.content ?? []))
      text += reasoningFields.parse(delta ?? {}).reasoning_content ?? delta?.content ?? ''
      if (!isKilled && text.length > 5 + round * 50) {
        isKilled = true
        const [beat] = await stack.heartbeats()
        assert(beat !== undefined, 'a worker is alive')
        process.kill(beat.pid, 'SIGKILL')
      }
    }
    assert(isKilled, 'the worker was killed in mid-answer')
    assert.equal(text, whole, 'I1, I2, I3: nothing lost, repeated or changed')
    assert.deepEqual(tokens, choice?.logprobs?.content ?? [], 'Nor any log probability')
    assert(longestWaitMs <= takeoverBudgetMs, `goes on within ${takeoverBudgetMs} ms, took ${longestWaitMs}`)
    const told = tokens.length === 0 ? 'text' : `text and ${tokens.length} log probabilities`
    console.log(`  worker killed in mid-answer: went on after ${longestWaitMs.toFixed(0)} ms, ${told} unchanged`)
  }
}

async function ask(client: OpenAI, model: string, question: Question): Promise<Answer> {
  const completion = await client.chat.completions.create(requestOf(model, question))
  const [choice] = completion.choices
  assert(choice !== undefined)
  const { reasoning_content: reasoning, reasoning: twin } = reasoningFields.parse(choice.message)
  assert.equal(reasoning, twin, 'Reasoning comes under both names')
  return {
    content: choice.message.content ?? '',
    reasoning: reasoning ?? '',
    finishReason: choice.finish_reason,
    completionTokens: completion.usage?.completion_tokens ?? -1,
    reasoningTokens: completion.usage?.completion_tokens_details?.reasoning_tokens ?? -1,
  }
}

async function askStreaming(client: OpenAI, model: string, question: Question): Promise<Answer> {
  const stream = await client.chat.completions.create({
    ...requestOf(model, question),
    stream: true,
    stream_options: { include_usage: true },
  })
  let [content, reasoning, twin, finishReason] = ['', '', '', '']
  let usage: OpenAI.CompletionUsage | null | undefined
  for await (const chunk of stream) {
    const choice = chunk.choices[0]
    const fields = reasoningFields.parse(choice?.delta ?? {})
    content += choice?.delta.content ?? ''
    reasoning += fields.reasoning_content ?? ''
    twin += fields.reasoning ?? ''
    finishReason = choice?.finish_reason ?? finishReason
    usage = chunk.usage ?? usage
  }
  assert.equal(reasoning, twin, 'Reasoning comes under both names')
  return {
    content,
    reasoning,
    finishReason,
    completionTokens: usage?.completion_tokens ?? -1,
    reasoningTokens: usage?.completion_tokens_details?.reasoning_tokens ?? -1,
  }
}

/** A request without the SDK, to see the bytes as they come. */
function post(
  stack: Stack,
  question: Omit<Question, 'expected'>,
  options: { stream: boolean; minTokens?: number; signal?: AbortSignal } = { stream: true },
): Promise<Response> {
  return fetch(`${stack.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      ...requestOf(stack.model, { ...question, expected: null }),
      stream: options.stream,
      min_tokens: options.minTokens,
    }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
}

async function* decode(response: Response): AsyncGenerator<string> {
  assert(response.body !== null && response.ok, `HTTP ${response.status}`)
  const decoder = new TextDecoder()
  for await (const bytes of response.body) yield decoder.decode(bytes, { stream: true })
}

/** Looks until what it sees holds; within the budget of a client that leaves. */
async function until<T>(look: () => Promise<T>, holds: (seen: T) => boolean, claim: string): Promise<T> {
  const deadlineMs = performance.now() + disconnectBudgetMs
  for (;;) {
    const seen = await look()
    if (holds(seen)) return seen
    assert(performance.now() < deadlineMs, `Within ${disconnectBudgetMs} ms ${claim}`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

function elapsed(sinceMs: number): string {
  return `${(performance.now() - sinceMs).toFixed(0)} ms`
}
