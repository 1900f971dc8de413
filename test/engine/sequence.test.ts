/** When an answer ends, at both sides of every bound. */
import { describe, expect, it } from 'vitest'
import { Sequence, type SequenceRequest } from '../../gpu-worker/engine/sequence.ts'

const stopToken = 9

function sequence(changes: Partial<SequenceRequest>, positionsMax = 100): Sequence {
  const sampling = { temperature: 0.5, topK: 4, topP: 0.9, minP: 0, seed: [1, 2] } as const
  const request = { id: 'a', promptTokenIds: [1, 2, 3], sampling, stopTokenIds: [stopToken, 8], answerTokensMax: 4 }
  return new Sequence({ ...request, ...changes }, 0, positionsMax)
}

/** Of its next token, when all before it are known. */
function samplerOf(changes: Partial<SequenceRequest>) {
  const one = sequence(changes)
  one.state = { kind: 'running', blocks: [], computedCount: 0, publishedCount: 0 }
  return one.take(one.pendingCount).sampler
}

describe('Sequence', () => {
  const ends: readonly (readonly [string, readonly number[], Partial<SequenceRequest>, number, string | null])[] = [
    ['no answer yet', [], {}, 100, null],
    ['one token below answerTokensMax', [5, 5, 5], {}, 100, null],
    ['at answerTokensMax', [5, 5, 5, 5], {}, 100, 'length'],
    ['one position below the context', [5], {}, 5, null],
    ['at the context', [5, 5], {}, 5, 'length'],
    ['beyond answerTokensMax, resumed from elsewhere', [5, 5, 5, 5, 5], {}, 100, 'length'],
    ['a stop token last', [5, stopToken], {}, 100, 'stop'],
    ['the other stop token last', [8], {}, 100, 'stop'],
    ['a stop token at answerTokensMax', [5, 5, 5, stopToken], {}, 100, 'stop'],
    ['a stop token that is not last', [stopToken, 5], {}, 100, null],
    ['a stop token that ends the prompt only', [], { promptTokenIds: [1, stopToken] }, 100, null],
    ['no stop tokens at all', [stopToken], { stopTokenIds: [] }, 100, null],
  ]
  it.each(ends)('answerEnd: %s', (_, resumedTokenIds, changes, positionsMax, end) => {
    expect(sequence({ resumedTokenIds, ...changes }, positionsMax).answerEnd).toBe(end)
  })

  it('samples at the index behind its last answer token, resumed ones counted', () => {
    expect(samplerOf({})).toMatchObject({ index: 0, temperature: 0.5, topK: 4, seed: [1, 2] })
    expect(samplerOf({ resumedTokenIds: [4, 5] })?.index).toBe(2)
  })

  it('its sampler row knows the tokens so far where penalties ask for them, and stop tokens below minTokens', () => {
    const plain = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [1, 2] } as const
    const penalties = { presence: 0.5, frequency: 0.25, repetition: 1.5 }
    expect(samplerOf({ sampling: plain })).toEqual({ ...plain, index: 0 })
    const asked = samplerOf({ sampling: { ...plain, penalties, minTokens: 5 }, resumedTokenIds: [4, 5, 4] })
    const seen = {
      promptTokens: new Set([1, 2, 3]),
      answerCounts: new Map([
        [4, 2],
        [5, 1],
      ]),
    }
    expect(asked).toEqual({
      ...plain,
      index: 3,
      minTokens: 5,
      stopTokenIds: [stopToken, 8],
      penalties: { ...penalties, ...seen },
    })
    const mild = { ...penalties, repetition: 1 }
    const milder = samplerOf({ sampling: { ...plain, penalties: mild }, resumedTokenIds: [4, 5, 4] })?.penalties
    expect(milder).toEqual({ ...mild, ...seen, promptTokens: new Set() })
  })

  it('takes rows up to the last known token, and samples behind it alone', () => {
    const one = sequence({})
    one.state = { kind: 'running', blocks: [], computedCount: 0, publishedCount: 0 }
    expect(one.take(2)).toEqual({ tokenIds: [1, 2], start: 0, blocks: [], sampler: null })
    expect(one.take(2)).toMatchObject({ tokenIds: [3], start: 2, sampler: { index: 0 } })
    expect(one.pendingCount).toBe(0)
  })

  it('tells of each prompt row the token behind it; the last row has none, and runs by itself', () => {
    const one = sequence({ promptLogprobCount: 2, resumedTokenIds: [7] })
    one.state = { kind: 'running', blocks: [], computedCount: 0, publishedCount: 0 }
    expect(one.take(9)).toMatchObject({
      tokenIds: [1, 2],
      sampler: null,
      promptLogprobs: { count: 2, nextTokenIds: [2, 3] },
    })
    one.toldCount = 3
    expect(one.isTelling).toBe(false)
    expect(one.take(9)).toEqual({
      tokenIds: [3, 7],
      start: 2,
      blocks: [],
      sampler: expect.objectContaining({ index: 1 }),
    })
  })

  it('has everything pending until it runs', () => {
    const one = sequence({ resumedTokenIds: [4, 5] })
    expect(one.pendingCount).toBe(5)
    one.state = { kind: 'running', blocks: [], computedCount: 4, publishedCount: 0 }
    expect(one.pendingCount).toBe(1)
  })

  it('leaves the caller its arrays', () => {
    const promptTokenIds = [1, 2, 3]
    const one = sequence({ promptTokenIds })
    one.tokenIds.push(4)
    expect(promptTokenIds).toEqual([1, 2, 3])
  })

  const impossible: readonly (readonly [Partial<SequenceRequest>, number, string])[] = [
    [{ promptTokenIds: [] }, 100, 'its prompt is empty'],
    [{ answerTokensMax: 0 }, 100, 'answerTokensMax is 0'],
    [{}, 3, 'no room to answer'],
  ]
  it.each(impossible)('refuses to exist: %o within %i', (changes, positionsMax, message) => {
    expect(() => sequence(changes, positionsMax)).toThrow(message)
    expect(() => sequence({}, 4)).not.toThrow()
  })
})
