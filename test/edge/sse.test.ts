/** Frames as a function of (request, log prefix), and the whole answer as what the frames add up to. */
import * as fc from 'fast-check'
import type { OpenAI } from 'openai'
import { describe, expect, it } from 'vitest'
import type { AppError } from '../../contract/errors.ts'
import type { EndEntry, LogEntry, LogEvent, TokenEntry } from '../../contract/event.ts'
import { chatCompletion } from '../../edge/completion.ts'
import { chatFrames, streamStart, type ChatFacts, type StreamState } from '../../edge/sse.ts'

/** The SDK knows no tier of batches, and no chat has it. */
type SdkCompletion = Omit<OpenAI.ChatCompletion, 'service_tier'>

const facts: ChatFacts = {
  id: 'chatcmpl-1',
  model: 'm',
  created: 5,
  tier: 'flex',
  includeUsage: true,
  includeLogProbs: false,
}
const usage = { promptTokens: 4, cachedTokens: 1, completionTokens: 3, reasoningTokens: 1 }
const start: LogEntry = { kind: 'start', epoch: 1, fingerprint: 'fp_1', promptTokens: 4 }
const end: EndEntry = { kind: 'end', status: 'completed', finishReasons: ['stop'], usage, error: null }
const token = (index: number, text: string, channel: TokenEntry['channel'] = 'content'): TokenEntry => ({
  kind: 'token',
  choice: 0,
  index,
  tokenIds: [index],
  channel,
  text,
})
const logOf = (...entries: LogEntry[]): LogEvent[] => entries.map((entry, i) => ({ sequence: i + 1, entry }))

function framesOf(log: readonly LogEvent[], given: ChatFacts = facts, state: StreamState = streamStart) {
  let text = ''
  for (const event of log) {
    const frames = chatFrames(given, state, event)
    state = frames.state
    text += frames.text + frames.closing
  }
  return { text, state }
}

/** What a reader is sent that has seen the events up to `sequence`. */
function framesAfter(log: readonly LogEvent[], sequence: number): string {
  let state = streamStart
  let text = ''
  for (const event of log) {
    const frames = chatFrames(facts, state, event)
    state = frames.state
    if (event.sequence > sequence) text += frames.text
    text += frames.closing
  }
  return text
}

/** As a client parses: blank-line separated events of `id` and `data` lines. */
function parse(text: string): { id: string | null; data: unknown }[] {
  return text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => {
      const lines = event.split('\n')
      const id = lines.find((line) => line.startsWith('id: '))?.slice(4) ?? null
      const data = lines.find((line) => line.startsWith('data: '))?.slice(6) ?? ''
      return { id, data: data === '[DONE]' ? data : (JSON.parse(data) as unknown) }
    })
}

const chunk = (delta: object, finishReason: string | null = null) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 5,
  model: 'm',
  service_tier: 'flex',
  system_fingerprint: 'fp_1',
  choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
  usage: null,
})
const usageBody = {
  prompt_tokens: 4,
  completion_tokens: 3,
  total_tokens: 7,
  prompt_tokens_details: { cached_tokens: 1 },
  completion_tokens_details: { reasoning_tokens: 1 },
}

describe('chatFrames()', () => {
  const log = logOf(start, token(0, 'hm', 'reasoning'), token(1, ''), token(2, 'A'), end)

  it('opens with the role, gives reasoning both names, ends with the reason, the usage and [DONE]', () => {
    expect(parse(framesOf(log).text)).toEqual([
      { id: '1', data: chunk({ role: 'assistant', content: '' }) },
      { id: '2', data: chunk({ reasoning_content: 'hm', reasoning: 'hm' }) },
      { id: '4', data: chunk({ content: 'A' }) },
      { id: null, data: chunk({}, 'stop') },
      { id: '5', data: { ...chunk({}), choices: [], usage: usageBody } },
      { id: null, data: '[DONE]' },
    ])
  })

  it('has no usage key anywhere unless asked', () => {
    const frames = parse(framesOf(log, { ...facts, includeUsage: false }).text)
    expect(JSON.stringify(frames)).not.toContain('usage')
    expect(frames.at(-2)).toMatchObject({ id: '5', data: { choices: [{ finish_reason: 'stop' }] } })
  })

  it.each([
    ['failed', { code: 'model_error', message: 'M', param: null }, 'model_error'],
    ['failed', null, 'worker_failed'],
    ['expired', null, 'job_expired'],
    ['cancelled', null, 'cancelled'],
  ] as const)('ends a job that %s in an error frame and without [DONE]', (status, error, code) => {
    const frames = parse(framesOf(logOf(start, token(0, 'A'), { ...end, status, finishReasons: [], error })).text)
    expect(frames.at(-1)).toMatchObject({ id: '3', data: { error: { code } } })
    expect(frames).toHaveLength(3)
  })

  it('shows a takeover by another fingerprint from there on, and no second role', () => {
    const second: LogEntry = { kind: 'start', epoch: 2, fingerprint: 'fp_2', promptTokens: 4 }
    const frames = parse(framesOf(logOf(start, token(0, 'A'), second, token(1, 'B'))).text)
    expect(frames.map((frame) => (frame.data as { system_fingerprint: string }).system_fingerprint)).toEqual([
      'fp_1',
      'fp_1',
      'fp_2',
    ])
  })

  const text = fc.string({ unit: 'binary' }).map((value) => value.toWellFormed())
  const anyLog = fc
    .array(fc.tuple(text, fc.constantFrom('content' as const, 'reasoning' as const)))
    .map((texts) => logOf(start, ...texts.map(([value, channel], i) => token(i, value, channel)), end))

  it('I3: gives the same bytes however the log is split', () => {
    fc.assert(
      fc.property(anyLog, fc.nat(), (whole, cut) => {
        const at = cut % (whole.length + 1)
        const head = framesOf(whole.slice(0, at))
        const tail = framesOf(whole.slice(at), facts, head.state)
        expect(head.text + tail.text).toBe(framesOf(whole).text)
      }),
    )
  })

  it('I3: any text arrives whole, one event a frame, and adds up to the unstreamed answer', () => {
    const hostile = logOf(start, token(0, '\n\ndata: [DONE]\n\n'), token(1, '\r\u0000\u2028\u2029\u0085'), end)
    fc.assert(
      fc.property(anyLog, (whole) => {
        const deltas = parse(framesOf(whole).text)
          .map(({ data }) => data as { choices?: { delta: { content?: string; reasoning?: string } }[] })
          .flatMap((data) => data.choices ?? [])
          .map((choice) => choice.delta)
        const message = chatCompletion(facts, whole).choices[0]?.message
        expect(deltas.map((delta) => delta.content ?? '').join('')).toBe(message?.content)
        expect(deltas.map((delta) => delta.reasoning ?? '').join('')).toBe(message?.reasoning ?? '')
      }),
      { examples: [[hostile]] },
    )
    expect(framesOf(hostile).text).not.toMatch(/[\r\u0085\u2028\u2029]/)
  })

  it('a reader that saw up to any event needs exactly the frames after it', () => {
    for (const { sequence } of log) {
      const before = framesOf(log.slice(0, sequence)).text.replace('data: [DONE]\n\n', '')
      expect(before + framesAfter(log, sequence)).toBe(framesOf(log).text)
    }
  })
})

describe('log probabilities', () => {
  const asked: ChatFacts = { ...facts, includeLogProbs: true }
  const whole = { token: ' the', logProb: -0.25 }
  const part = { token: '\\xec', bytes: [0xec], logProb: -1.5 }
  const ending = { token: '<|im_end|>', bytes: null, logProb: -3 }
  const told = (index: number, text: string, ...logProbs: TokenEntry['logProbs'] & object): TokenEntry => ({
    ...token(index, text),
    tokenIds: logProbs.map((_, i) => index + i),
    logProbs,
  })
  const log = logOf(
    start,
    token(0, 'hm', 'reasoning'),
    told(1, ' the', [whole, whole, part]),
    told(2, '', [part, ending]),
    told(3, 'A', [whole], [part]),
    told(5, '', [ending]),
    end,
  )
  const the = { token: ' the', logprob: -0.25, bytes: [32, 116, 104, 101] }
  const ec = { token: '\\xec', logprob: -1.5, bytes: [0xec] }
  const content = [
    { ...the, top_logprobs: [the, ec] },
    { ...ec, top_logprobs: [{ token: '<|im_end|>', logprob: -3, bytes: null }] },
    { ...the, top_logprobs: [] },
    { ...ec, top_logprobs: [] },
  ]

  it('stand beside their tokens in a stream, those without text too, and not beside reasoning or the end', () => {
    const choices = parse(framesOf(log, asked).text)
      .map(({ data }) => data as Partial<OpenAI.ChatCompletionChunk>)
      .flatMap((data) => data.choices ?? [])
    expect(choices.map(({ delta, logprobs }) => [delta.content, logprobs])).toEqual([
      ['', null],
      [undefined, null],
      [' the', { content: content.slice(0, 1), refusal: null }],
      ['', { content: content.slice(1, 2), refusal: null }],
      ['A', { content: content.slice(2), refusal: null }],
      [undefined, null],
    ])
  })

  it('stand in one list where the answer is whole, and are an empty one where it has no content', () => {
    const completion: SdkCompletion = chatCompletion(asked, log)
    expect(completion.choices[0]?.logprobs).toEqual({ content, refusal: null })
    const thought = logOf(start, token(0, 'hm', 'reasoning'), end)
    expect(chatCompletion(asked, thought).choices[0]?.logprobs).toEqual({ content: [], refusal: null })
    expect(chatCompletion(facts, thought).choices[0]?.logprobs).toBeNull()
  })
})

describe('chatCompletion()', () => {
  it('is one object with content, both names of reasoning, and usage', () => {
    const log = logOf(start, token(0, 'hm', 'reasoning'), token(1, 'A'), token(2, 'B'), end)
    // The SDK's own type is part of the claim.
    const whole: SdkCompletion = chatCompletion(facts, log)
    expect(whole).toEqual({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 5,
      model: 'm',
      service_tier: 'flex',
      system_fingerprint: 'fp_1',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'AB', reasoning_content: 'hm', reasoning: 'hm', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: usageBody,
    })
  })

  it('has no reasoning where there was none, and says length when the limit cut it', () => {
    const cut: EndEntry = { ...end, status: 'incomplete', finishReasons: ['length'] }
    const [choice] = chatCompletion(facts, logOf(start, token(0, 'A'), cut)).choices
    expect(choice?.message).toEqual({ role: 'assistant', content: 'A', refusal: null })
    expect(choice?.finish_reason).toBe('length')
  })

  it('throws what the job ended with', () => {
    const error = { code: 'context_length_exceeded', message: 'M', param: 'messages' } as const
    const log = logOf({ ...end, status: 'failed', finishReasons: [], error })
    expect(() => chatCompletion(facts, log)).toThrow(expect.objectContaining({ ...error, status: 400 }) as AppError)
  })
})
