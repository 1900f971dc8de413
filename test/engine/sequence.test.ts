/** When an answer ends, at both sides of every bound. */
import { describe, expect, it } from 'vitest'
import { Sequence, type SequenceRequest } from '../../gpu-worker/engine/sequence.ts'

const stopToken = 9

function sequence(changes: Partial<SequenceRequest>, positionsMax = 100): Sequence {
  const sampling = { temperature: 0.5, topK: 4, topP: 0.9, minP: 0, seed: [1, 2] } as const
  const request = { id: 'a', promptTokenIds: [1, 2, 3], sampling, stopTokenIds: [stopToken, 8], answerTokensMax: 4 }
  return new Sequence({ ...request, ...changes }, 0, positionsMax)
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
    expect(sequence({}).nextSampler()).toMatchObject({ index: 0, temperature: 0.5, topK: 4, seed: [1, 2] })
    expect(sequence({ resumedTokenIds: [4, 5] }).nextSampler().index).toBe(2)
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
