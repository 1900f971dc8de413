/** The parameters that say how tokens are chosen, and what is told of them: both sides of every bound. */
import { describe, expect, it } from 'vitest'
import type { AppError, ErrorCode } from '../../contract/errors.ts'
import { biasedTokensMax, topKMax } from '../../contract/limits.ts'
import { parseChatRequest } from '../../edge/chat-request.ts'

const parse = (given: object) => parseChatRequest({ model: 'm', messages: [{ role: 'user', content: 'hi' }], ...given })
const biases = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, tokenId) => [tokenId, 1]))
const noTokenIds = ['hello', '-1', '1.5', '05', '1e3', ' 5', '', `${topKMax + 1}`, '9'.repeat(400)]

describe('parseChatRequest()', () => {
  const accepted: [object, object][] = [
    [{ frequency_penalty: -2 }, { frequencyPenalty: -2 }],
    [{ frequency_penalty: 2 }, { frequencyPenalty: 2 }],
    [{ presence_penalty: -2 }, { presencePenalty: -2 }],
    [{ presence_penalty: 0.5 }, { presencePenalty: 0.5 }],
    [{ repetition_penalty: 0.01 }, { repetitionPenalty: 0.01 }],
    [{ repetition_penalty: 100 }, { repetitionPenalty: 100 }],
    [
      { logit_bias: { 50256: -100, 0: 100, [topKMax]: 0.5 } },
      {
        logitBias: [
          [0, 100],
          [50256, -100],
          [topKMax, 0.5],
        ],
      },
    ],
    [{ logit_bias: {} }, { logitBias: [] }],
    [{ min_tokens: 0 }, { minTokens: 0 }],
    [{ min_tokens: 5, max_tokens: 5 }, { minTokens: 5 }],
    [{ logprobs: true }, { topLogprobs: 0 }],
    [{ logprobs: true, top_logprobs: 0 }, { topLogprobs: 0 }],
    [{ logprobs: true, top_logprobs: 20 }, { topLogprobs: 20 }],
    [{ logprobs: false, top_logprobs: 0 }, { topLogprobs: null }],
  ]
  it.each(accepted)('takes %o', (given, expected) => {
    expect(parse(given).request).toMatchObject(expected)
  })

  it('takes biases up to their limit', () => {
    expect(parse({ logit_bias: biases(biasedTokensMax) }).request.logitBias).toHaveLength(biasedTokensMax)
  })

  it('tells log probabilities in the answer exactly where they are asked for', () => {
    expect([true, false, null].map((logprobs) => parse({ logprobs }).includeLogProbs)).toEqual([true, false, false])
  })

  const refused: [object, ErrorCode, string][] = [
    [{ logprobs: 5 }, 'invalid_type', 'logprobs'],
    [{ logprobs: true, top_logprobs: 21 }, 'invalid_value', 'top_logprobs'],
    [{ logprobs: true, top_logprobs: -1 }, 'invalid_value', 'top_logprobs'],
    [{ top_logprobs: 1 }, 'invalid_value', 'top_logprobs'],
    [{ logprobs: false, top_logprobs: 1 }, 'invalid_value', 'top_logprobs'],
    [{ logit_bias: { 5: 100.01 } }, 'invalid_value', 'logit_bias.5'],
    [{ logit_bias: { 5: -100.01 } }, 'invalid_value', 'logit_bias.5'],
    [{ logit_bias: { 5: null } }, 'invalid_type', 'logit_bias.5'],
    [{ logit_bias: [1] }, 'invalid_type', 'logit_bias'],
    ...noTokenIds.map((key) => {
      return [{ logit_bias: { [key]: 1 } }, 'invalid_value', 'logit_bias'] as [object, ErrorCode, string]
    }),
    [{ logit_bias: biases(60_000) }, 'invalid_value', 'logit_bias'],
    [{ repetition_penalty: 0 }, 'invalid_value', 'repetition_penalty'],
    [{ repetition_penalty: 0.009 }, 'invalid_value', 'repetition_penalty'],
    [{ repetition_penalty: 100.1 }, 'invalid_value', 'repetition_penalty'],
    [{ min_tokens: -1 }, 'invalid_value', 'min_tokens'],
    [{ min_tokens: 6, max_tokens: 5 }, 'contradictory_parameters', 'min_tokens'],
    [{ min_tokens: 6, max_completion_tokens: 5 }, 'contradictory_parameters', 'min_tokens'],
    [{ frequency_penalty: 2.01 }, 'invalid_value', 'frequency_penalty'],
    [{ presence_penalty: -2.01 }, 'invalid_value', 'presence_penalty'],
  ]
  it.each(refused)('refuses %o as %s of %s', (given, code, param) => {
    expect(() => parse(given)).toThrow(expect.objectContaining({ code, param, status: 400 }) as AppError)
  })

  const sentences: [object, string][] = [
    [{ presence_penalty: 3 }, "Invalid value for 'presence_penalty': expected at most 2."],
    [{ logit_bias: { x: 1 } }, "Invalid value for 'logit_bias': expected token ids as names: whole numbers from 0 on."],
    [{ logit_bias: biases(513) }, "Invalid value for 'logit_bias': expected at most 512 tokens."],
    [{ logit_bias: { 5: 101 } }, "Invalid value for 'logit_bias.5': expected at most 100."],
    [{ top_logprobs: 1 }, "Invalid value for 'top_logprobs': it is allowed only when logprobs is true."],
    [
      { min_tokens: 2, max_tokens: 1 },
      'min_tokens is more than the answer may have by max_tokens or max_completion_tokens.',
    ],
  ]
  it.each(sentences)('says of %o: %s', (given, sentence) => {
    expect(() => parse(given)).toThrow(expect.objectContaining({ message: sentence }) as AppError)
  })
})
