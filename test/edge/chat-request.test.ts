/** The chat request: both sides of every bound, every parameter we know, and the error that names the one at fault. */
import { describe, expect, it } from 'vitest'
import type { AppError, ErrorCode } from '../../contract/errors.ts'
import { nothingSteered } from '../../contract/job.ts'
import { messagesMax, stopStringBytesMax, topKMax } from '../../contract/limits.ts'
import { parseChatRequest } from '../../edge/chat-request.ts'
import { parseJsonBody } from '../../edge/json-body.ts'

const plain = { model: 'm', messages: [{ role: 'user', content: 'hi' }] }
const utf8 = new TextEncoder()
/** Through JSON text, as a client sends it; `raw` replaces a value by text that JavaScript cannot hold. */
const parse = (given: object) => parseChatRequest(parseJsonBody(utf8.encode(JSON.stringify({ ...plain, ...given }))))
const parseRaw = (name: string, raw: string) =>
  parseChatRequest(parseJsonBody(utf8.encode(`${JSON.stringify(plain).slice(0, -1)},"${name}":${raw}}`)))
const refusal = (code: ErrorCode, param: string) => expect.objectContaining({ code, param }) as AppError
const withMessage = (message: object) => ({ messages: [message] })

function entries(count: number, value: unknown): object {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, value]))
}

function messageOf(given: object): string {
  try {
    parse(given)
  } catch (thrown) {
    return (thrown as AppError).message
  }
  return ''
}

describe('parseChatRequest()', () => {
  it('leaves everything not given to the model', () => {
    expect(parse({})).toEqual({
      model: 'm',
      isStream: false,
      includeUsage: false,
      includeLogProbs: false,
      mode: { kind: 'chosen', thinking: { think: false, effort: null, budget: null } },
      tier: 'auto',
      seed: null,
      request: {
        messages: [{ role: 'user', content: 'hi' }],
        maxTokens: null,
        temperature: null,
        topP: null,
        topK: null,
        minP: null,
        stop: [],
        ...nothingSteered,
      },
    })
  })

  const accepted: [object, object][] = [
    [{ temperature: 0 }, { temperature: 0 }],
    [{ temperature: 2 }, { temperature: 2 }],
    [{ top_p: 0.000_001 }, { topP: 0.000_001 }],
    [{ top_p: 1 }, { topP: 1 }],
    [{ top_k: -1 }, { topK: 0 }],
    [{ top_k: 0 }, { topK: 0 }],
    [{ top_k: 40 }, { topK: 40 }],
    [{ top_k: topKMax }, { topK: topKMax }],
    [{ top_k: 2 ** 53 - 1 }, { topK: topKMax }],
    [{ min_p: 0 }, { minP: 0 }],
    [{ min_p: 1 }, { minP: 1 }],
    [{ max_tokens: 1 }, { maxTokens: 1 }],
    [{ max_completion_tokens: 5 }, { maxTokens: 5 }],
    [{ max_tokens: 5, max_completion_tokens: 5 }, { maxTokens: 5 }],
    [{ max_tokens: 5, max_completion_tokens: null }, { maxTokens: 5 }],
    [{ stop: 'x' }, { stop: ['x'] }],
    [{ stop: [] }, { stop: [] }],
    [{ stop: null }, { stop: [] }],
    [{ stop: ['a', 'b', 'c', 'd'] }, { stop: ['a', 'b', 'c', 'd'] }],
    [{ stop: 'x'.repeat(stopStringBytesMax) }, { stop: ['x'.repeat(stopStringBytesMax)] }],
  ]
  it.each(accepted)('takes %o', (given, expected) => {
    expect(parse(given).request).toMatchObject(expected)
  })

  it.each([0, -0, -5, 2 ** 53 - 1, -(2 ** 53 - 1)])('takes the seed %d', (seed) => {
    expect(parse({ seed }).seed).toBe(seed === 0 ? 0 : seed)
  })

  it.each(['auto', 'default', 'flex', 'priority'])('takes the service tier %s', (tier) => {
    expect(parse({ service_tier: tier }).tier).toBe(tier)
    expect(parse({}).tier).toBe('auto')
  })

  const ignored: object[] = [
    { user: 'u', safety_identifier: 's', prompt_cache_key: 'k', metadata: { a: 'b' }, store: false },
    { service_tier: 'auto', parallel_tool_calls: true, n: 1, logprobs: false, top_logprobs: 0, logit_bias: {} },
    { service_tier: null, tools: [], tool_choice: 'auto', functions: [], response_format: { type: 'text' } },
    { modalities: ['text'], verbosity: 'medium', repetition_penalty: null, logit_bias: null, top_logprobs: null },
    { temperature: null, top_p: null, top_k: null, min_p: null, max_tokens: null, seed: null, n: null, tools: null },
    { stream: null, stream_options: null, reasoning_effort: null, thinking: null, metadata: null, user: null },
  ]
  it.each(ignored)('takes %o as asking for nothing', (given) => {
    expect(parse(given)).toEqual(parse({}))
  })

  const refused: [object, ErrorCode, string][] = [
    [{ temperature: -0.01 }, 'invalid_value', 'temperature'],
    [{ temperature: 2.01 }, 'invalid_value', 'temperature'],
    [{ top_p: 0 }, 'invalid_value', 'top_p'],
    [{ top_p: 1.01 }, 'invalid_value', 'top_p'],
    [{ top_k: -2 }, 'invalid_value', 'top_k'],
    [{ top_k: 1.5 }, 'invalid_type', 'top_k'],
    [{ min_p: -0.1 }, 'invalid_value', 'min_p'],
    [{ min_p: 1.1 }, 'invalid_value', 'min_p'],
    [{ max_tokens: 0 }, 'invalid_value', 'max_tokens'],
    [{ max_completion_tokens: 0 }, 'invalid_value', 'max_completion_tokens'],
    [{ max_tokens: 1, max_completion_tokens: 2 }, 'contradictory_parameters', 'max_completion_tokens'],
    [{ seed: 1.5 }, 'invalid_type', 'seed'],
    [{ stop: '' }, 'invalid_value', 'stop'],
    [{ stop: ['a', ''] }, 'invalid_value', 'stop[1]'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'invalid_value', 'stop'],
    [{ stop: 'x'.repeat(stopStringBytesMax + 1) }, 'invalid_value', 'stop'],
    [{ stop: '한'.repeat(Math.ceil((stopStringBytesMax + 1) / 3)) }, 'invalid_value', 'stop'],
    [{ n: 2 }, 'unsupported_parameter', 'n'],
    [{ n: 1_000_000_000 }, 'unsupported_parameter', 'n'],
    [{ n: 0 }, 'invalid_value', 'n'],
    [{ tools: [{ type: 'function' }] }, 'unsupported_parameter', 'tools'],
    [{ tool_choice: 'required' }, 'unsupported_parameter', 'tool_choice'],
    [{ response_format: { type: 'json_object' } }, 'unsupported_parameter', 'response_format.type'],
    [{ audio: {} }, 'unsupported_parameter', 'audio'],
    [{ modalities: ['audio'] }, 'unsupported_parameter', 'modalities'],
    [{ store: true }, 'unsupported_parameter', 'store'],
    [{ service_tier: 'batch' }, 'unsupported_parameter', 'service_tier'],
    [{ service_tier: 'scale' }, 'unsupported_parameter', 'service_tier'],
    [{ service_tier: 1 }, 'invalid_type', 'service_tier'],
    [{ stream_options: { include_usage: true } }, 'invalid_value', 'stream_options'],
    [{ stream: 'yes' }, 'invalid_type', 'stream'],
    [{ thinking: { type: 'enabled', budget_tokens: 100 } }, 'unsupported_parameter', 'thinking.budget_tokens'],
    [{ thinking: { type: 'maybe' } }, 'invalid_value', 'thinking.type'],
    [{ reasoning_effort: 'huge' }, 'invalid_value', 'reasoning_effort'],
    [{ chat_template_kwargs: { tools: [] } }, 'unknown_parameter', 'chat_template_kwargs.tools'],
    [{ chat_template: 'x' }, 'unknown_parameter', 'chat_template'],
    // A key pasted in the wrong place is not told again.
    [{ axle_live_a1B2c3D4_secret: 'x' }, 'unknown_parameter', 'axle_live_…'],
    [{ tenant_id: 'x' }, 'unknown_parameter', 'tenant_id'],
    [{ priority: 0 }, 'unknown_parameter', 'priority'],
    [{ model: '' }, 'invalid_value', 'model'],
    [{ model: 'x'.repeat(257) }, 'invalid_value', 'model'],
    [{ model: 5 }, 'invalid_type', 'model'],
    [{ model: undefined }, 'missing_required_parameter', 'model'],
    [{ messages: undefined }, 'missing_required_parameter', 'messages'],
    [{ messages: 'hi' }, 'invalid_type', 'messages'],
    [{ messages: [] }, 'invalid_value', 'messages'],
    [{ messages: Array.from({ length: messagesMax + 1 }, () => plain.messages[0]) }, 'invalid_value', 'messages'],
    [withMessage({ role: 'user' }), 'missing_required_parameter', 'messages[0].content'],
    [withMessage({ role: 'user', content: null }), 'invalid_type', 'messages[0].content'],
    [withMessage({ role: 'user', content: 7 }), 'invalid_type', 'messages[0].content'],
    [withMessage({ role: 'user', content: [] }), 'invalid_value', 'messages[0].content'],
    [
      withMessage({ role: 'user', content: [{ type: 'text' }] }),
      'missing_required_parameter',
      'messages[0].content[0].text',
    ],
    [
      withMessage({ role: 'user', content: [{ type: 'image_url', image_url: {} }] }),
      'unsupported_parameter',
      'messages[0].content[0]',
    ],
    [withMessage({ role: 'user', content: 'x', status: 'y' }), 'unknown_parameter', 'messages[0].status'],
    [withMessage({ role: 'robot', content: 'x' }), 'invalid_value', 'messages[0].role'],
    [withMessage({ content: 'x' }), 'missing_required_parameter', 'messages[0].role'],
    [withMessage({ role: 'tool', content: 'x', tool_call_id: 'y' }), 'unsupported_parameter', 'messages[0]'],
    [
      withMessage({ role: 'assistant', content: null, tool_calls: [{}] }),
      'unsupported_parameter',
      'messages[0].tool_calls',
    ],
  ]
  it.each(refused)('refuses %o as %s of %s', (given, code, param) => {
    expect(() => parse(given)).toThrow(refusal(code, param))
  })

  const integers = ['max_tokens', 'max_completion_tokens', 'top_k', 'seed', 'n', 'min_tokens', 'top_logprobs']
  const numbers = [
    ...integers,
    'temperature',
    'top_p',
    'min_p',
    'frequency_penalty',
    'presence_penalty',
    'repetition_penalty',
  ]
  const noNumbers = ['"1"', 'true', '[]', '{}', '1e400', '-1e400']
  it.each(numbers.flatMap((name) => noNumbers.map((raw) => [name, raw] as const)))('refuses %s: %s', (name, raw) => {
    expect(() => parseRaw(name, raw)).toThrow(expect.objectContaining({ param: name, status: 400 }) as AppError)
  })
  it.each(integers.flatMap((name) => ['1.5', '9007199254740993'].map((raw) => [name, raw] as const)))(
    'refuses %s: %s, which is no safe integer',
    (name, raw) => {
      expect(() => parseRaw(name, raw)).toThrow(expect.objectContaining({ param: name, status: 400 }) as AppError)
    },
  )

  it('joins text parts, takes developer as system, and both names of earlier reasoning', () => {
    const { request } = parse({
      messages: [
        {
          role: 'developer',
          content: [
            { type: 'text', text: 'Be ' },
            { type: 'text', text: 'brief.' },
          ],
        },
        { role: 'user', content: 'a', name: 'ann' },
        { role: 'assistant', content: 'b', reasoning_content: 'r1' },
        { role: 'user', content: 'c' },
        { role: 'assistant', reasoning: 'r2', content: null, refusal: null, tool_calls: [] },
        { role: 'system', content: 'again' },
        { role: 'user', content: '' },
      ],
    })
    expect(request.messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b', reasoning_content: 'r1' },
      { role: 'user', content: 'c' },
      { role: 'assistant', content: '', reasoning_content: 'r2' },
      { role: 'system', content: 'again' },
      { role: 'user', content: '' },
    ])
  })

  const sentences: [object, string][] = [
    [{ temperature: 3 }, "Invalid value for 'temperature': expected at most 2."],
    [{ top_p: 0 }, "Invalid value for 'top_p': expected more than 0."],
    [{ max_tokens: 1.5 }, "Invalid type for 'max_tokens': expected an integer, got a fraction."],
    [{ stream: 'yes' }, "Invalid type for 'stream': expected a boolean, got a string."],
    [{ metadata: [] }, "Invalid type for 'metadata': expected an object, got an array."],
    [{ stop: '' }, "Invalid value for 'stop': expected at least 1 character."],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, "Invalid value for 'stop': expected at most 4 items."],
    [{ stop: 5 }, "Invalid type for 'stop': expected a string or an array of at most 4 strings."],
    [{ thinking: { type: 'on' } }, "Invalid value for 'thinking.type': expected one of 'enabled', 'disabled', 'auto'."],
    [
      withMessage({ role: 'robot', content: '' }),
      "Invalid value for 'messages[0].role': expected 'system', 'developer', 'user' or 'assistant'.",
    ],
    [
      withMessage({ role: 'user', content: [{ type: 'video' }] }),
      "Invalid value for 'messages[0].content[0].type': expected 'text'.",
    ],
    [{ n: 2 }, "'n' must be 1: send one request for each choice."],
    [{ tools: [{}] }, "'tools' is not supported."],
    [{ stream_options: {} }, "Invalid value for 'stream_options': it is allowed only when stream is true."],
  ]
  it.each(sentences)('says of %o: %s', (given, sentence) => {
    expect(messageOf(given)).toBe(sentence)
  })

  it.each(refused)('says what is wrong with %o in words, not in those of its schema', (given) => {
    expect(messageOf(given)).not.toMatch(/too (big|small)|received|[<>]=|"|discriminator|Invalid input|undefined/i)
  })

  it('counts the entries of metadata before it looks at them', () => {
    expect(() => parse({ metadata: entries(60_000, 1) })).toThrow(refusal('invalid_value', 'metadata'))
    expect(() => parse({ metadata: entries(16, 'v') })).not.toThrow()
    expect(() => parse({ metadata: entries(17, 'v') })).toThrow(refusal('invalid_value', 'metadata'))
    expect(() => parse({ metadata: { ['k'.repeat(513)]: 'v' } })).toThrow(refusal('invalid_value', 'metadata'))
  })

  it('quotes no value and cuts long names', () => {
    expect(messageOf({ reasoning_effort: 'canary' })).not.toContain('canary')
    expect(messageOf(withMessage({ role: 'canary', content: 'canary' }))).not.toContain('canary')
    expect(messageOf({ ['k'.repeat(10_000)]: 1 }).length).toBeLessThan(200)
  })
})
