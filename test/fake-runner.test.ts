/** The fake Runner keeps the Runner's contract and is loud about every misuse of its KV. */
import { describe, expect, it } from 'vitest'
import type { BlockId, SequenceRows } from '../gpu-worker/engine/batch.ts'
import { contextHash, FakeRunner, type FakeStep } from './fake-runner.ts'
import { runnerConformance } from './runner-conformance.ts'

runnerConformance('fake', async () => new FakeRunner({ limits: { blockTokens: 8, blockCount: 20, vocabSize: 64 } }))
runnerConformance('fake, as small as the suite allows', async () => {
  return new FakeRunner({
    limits: { blockTokens: 4, blockCount: 16, contextTokensMax: 16, rowsMax: 5, sequencesMax: 3, stepsInFlightMax: 1 },
  })
})

const sampler = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [1, 2], index: 0 } as const
const blocks = (...ids: number[]) => ids.map((id) => id as BlockId)

function answer(runner: FakeRunner, word: number): number[] {
  return [0, 1, 2, 3].map((index) => runner.tokenAt([word, 0], index))
}

function rows(tokenIds: readonly number[], start: number, table: readonly BlockId[]): SequenceRows {
  return { tokenIds, start, blocks: table, sampler }
}

describe('FakeRunner', () => {
  const limits = { blockTokens: 2, blockCount: 8, vocabSize: 64 }
  const prompt = rows([1, 2, 3, 4], 0, blocks(5, 3))

  const misuses: readonly (readonly [string, RegExp, readonly SequenceRows[]])[] = [
    ['the blocks of a table swapped', /not where its block table says/u, [rows([5], 4, blocks(3, 5, 1))]],
    ['a block never written', /not where its block table says/u, [rows([5], 4, blocks(5, 6, 1))]],
    ['a position skipped', /not where its block table says/u, [rows([5], 5, blocks(5, 3, 1))]],
    [
      'a block of another context',
      /belongs to another context/u,
      [rows([8, 8, 8, 8], 0, blocks(6, 7)), rows([5], 4, blocks(5, 7, 1))],
    ],
    [
      'a block overwritten by another',
      /belongs to another context/u,
      [rows([9, 9], 0, blocks(5)), rows([5], 4, blocks(5, 3, 1))],
    ],
  ]
  it.each(misuses)('rejects a read through %s', async (_, message, steps) => {
    const runner = new FakeRunner({ limits })
    await runner.run({ sequences: [prompt] })
    for (const step of steps.slice(0, -1)) await runner.run({ sequences: [step] })
    await expect(runner.run({ sequences: steps.slice(-1) })).rejects.toThrow(message)
  })

  it('feeds a row with what the step before samples, refuses to where it samples nothing, and resolves in order', async () => {
    const told: FakeStep[] = []
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let stepCount = 0
    const wait = async () => gates[stepCount++]?.promise
    const runner = new FakeRunner({ limits, wait, onStep: (step) => told.push(step) })
    const first = runner.run({ sequences: [prompt] })
    const fed = { ...rows([0], 4, blocks(5, 3, 1)), fedFrom: 0, sampler: { ...sampler, index: 1 } }
    const second = runner.run({ sequences: [fed] })
    gates[1]?.resolve()
    expect(told).toEqual([])
    gates[0]?.resolve()
    expect((await second).sampled).toEqual([{ kind: 'token', tokenId: runner.tokenAt([1, 2], 1) }])
    expect((await first).sampled).toEqual([{ kind: 'token', tokenId: runner.tokenAt([1, 2], 0) }])
    const known = [1, 2, 3, 4, runner.tokenAt([1, 2], 0)]
    expect(told.map(({ contexts }) => contexts)).toEqual([[contextHash([1, 2, 3, 4])], [contextHash(known)]])
    const astray = { ...fed, start: 5, fedFrom: 1 }
    await expect(runner.run({ sequences: [astray] })).rejects.toThrow('1 was not sampled in the step before')
  })

  it('rejects the step given behind one that fails', async () => {
    const runner = new FakeRunner({ limits, rejectAtStep: 0 })
    const [first, second] = await Promise.allSettled([
      runner.run({ sequences: [prompt] }),
      runner.run({ sequences: [{ ...rows([0], 4, blocks(5, 3, 1)), fedFrom: 0 }] }),
    ])
    expect([first.status, second.status]).toEqual(['rejected', 'rejected'])
  })

  it('rejects two sequences that write one slot in one step', async () => {
    const runner = new FakeRunner({ limits })
    const sequences = [rows([1], 0, blocks(4)), rows([1], 0, blocks(4))]
    await expect(runner.run({ sequences })).rejects.toThrow('write the same KV slot')
  })

  it('samples a pure function of seed and index, with the stop where it was set', async () => {
    const runner = new FakeRunner({ stopTokenId: 9, stopIndex: ([word]) => (word === 1 ? 2 : null) })
    const same = new FakeRunner({ stopTokenId: 9 })
    expect(answer(runner, 2)).toEqual(answer(same, 2))
    expect(answer(runner, 1)[2]).toBe(9)
    expect(answer(same, 1)).not.toContain(9)
    expect(answer(runner, 1)).not.toEqual(answer(runner, 2))
  })

  it('chooses from the vocabulary it was given', () => {
    const runner = new FakeRunner({ vocabulary: [40, 41] })
    const chosen = new Set(Array.from({ length: 50 }, (_, index) => runner.tokenAt([1, 1], index)))
    expect(chosen).toEqual(new Set([40, 41]))
  })

  it('fails one sequence where its logits shall not be finite, and the step where it shall be rejected', async () => {
    const runner = new FakeRunner({ limits, isNotFinite: (_, index) => index === 0, rejectAtStep: 1 })
    expect((await runner.run({ sequences: [prompt] })).sampled).toEqual([{ kind: 'not-finite' }])
    await expect(runner.run({ sequences: [prompt] })).rejects.toThrow('Injected failure of step 1')
    await expect(runner.run({ sequences: [prompt] })).rejects.toThrow('closed or a step failed')
  })

  it('spends a step in the injected wait, refuses a second step meanwhile, and tells each step once', async () => {
    const told: FakeStep[] = []
    const waited: number[] = []
    const gate = Promise.withResolvers<void>()
    const wait = (ms: number) => {
      waited.push(ms)
      return gate.promise
    }
    const oneByOne = { ...limits, stepsInFlightMax: 1 } as const
    const runner = new FakeRunner({ limits: oneByOne, stepMs: () => 7, wait, onStep: (step) => told.push(step) })
    const first = runner.run({ sequences: [prompt] })
    await expect(runner.run({ sequences: [prompt] })).rejects.toThrow('another one is running')
    expect(told).toEqual([])
    gate.resolve()
    await first
    expect(waited).toEqual([7])
    const hashes = [[1, 2, 3, 4].map((_, at, tokens) => contextHash(tokens.slice(0, at + 1)))]
    expect(told).toEqual([{ batch: { sequences: [prompt] }, contexts: [hashes[0]?.at(-1)], hashes }])
  })
})
