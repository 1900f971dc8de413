/**
 * Steps upon steps of the real Runner: a row fed from logits that are not finite, blocks filled from outside, and one
 * sequence that reads what another writes in the same step.
 *
 * NaN in a cache block stands for whatever breaks a sequence: its own steps fail, its neighbours' bits stay.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BlockId, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { orderedProfiles } from '../../gpu-worker/model/profile.ts'
import { bits } from '../fixtures/numbers.ts'

const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [1, 2] } as const
const prompt = [5, 90, 17, 256]
const block = (number: number): BlockId => number as BlockId

function rows(blockNumber: number, index: number, fedFrom?: number): SequenceRows {
  const isFirst = index === 0
  return {
    tokenIds: isFirst ? prompt : [fedFrom === undefined ? 3 : 0],
    start: isFirst ? 0 : prompt.length + index - 1,
    blocks: [block(blockNumber)],
    sampler: { ...sampling, index },
    ...(fedFrom === undefined ? {} : { fedFrom }),
  }
}

describe.each(orderedProfiles)('profile %s', (profile) => {
  let runner: ModelRunner
  beforeAll(async () => {
    const checkpoint = join(import.meta.dirname, '../../models/axk1-tiny')
    const loaded = await loadRunner({
      checkpoint,
      profile,
      sequencesMax: 4,
      rowsMax: 16,
      blockCount: 8,
      stepsInFlight: 2,
    })
    runner = loaded.runner
  })
  afterAll(() => runner.close())

  it('filled blocks change nobody who does not hold them, and whoever does is not finite', async () => {
    const capture = { logits: 'sampled', experts: false } as const
    await runner.run({ sequences: [rows(1, 0), rows(2, 0)] })
    const clean = await runner.run({ sequences: [rows(1, 1)], capture })
    runner.fillBlocks([0, 2, 3, 4, 5, 6, 7].map(block), NaN)
    const beside = await runner.run({ sequences: [rows(1, 1), rows(2, 1)], capture })
    expect(beside.sampled).toEqual([...clean.sampled, { kind: 'not-finite' }])
    const cleanBits = bits(clean.logits ?? new Float32Array())
    expect(bits((beside.logits ?? new Float32Array()).slice(0, cleanBits.length))).toEqual(cleanBits)
    await runner.run({ sequences: [rows(2, 0)] })
    expect((await runner.run({ sequences: [rows(2, 1)], capture })).sampled, 'written anew').toEqual(clean.sampled)
  })

  it('a row fed from logits that are not finite ends alone: the other fed row has the token it has alone', async () => {
    const alone: number[] = []
    await runner.run({ sequences: [rows(1, 0)] })
    const steps = [runner.run({ sequences: [rows(1, 1)] }), runner.run({ sequences: [rows(1, 2, 0)] })]
    for (const { sampled } of await Promise.all(steps)) if (sampled[0]?.kind === 'token') alone.push(sampled[0].tokenId)
    expect(alone).toHaveLength(2)

    await runner.run({ sequences: [rows(1, 0), rows(2, 0)] })
    runner.fillBlocks([block(2)], NaN)
    const both = [
      runner.run({ sequences: [rows(2, 1), rows(1, 1)] }),
      runner.run({ sequences: [rows(1, 2, 1), rows(2, 2, 0)] }),
    ]
    const [first, second] = (await Promise.all(both)).map(({ sampled }) => sampled)
    expect(first).toEqual([{ kind: 'not-finite' }, { kind: 'token', tokenId: alone[0] }])
    expect(second).toEqual([{ kind: 'token', tokenId: alone[1] }, { kind: 'not-finite' }])
  })
})

/** Software drivers take seconds to compile whole workgroups. */
const COMPILING_MS = 120_000

it.each(['cpu', 'gpu'] as const)(
  'on %ss a sequence reads a block that another fills in the same step',
  async (processor) => {
    const checkpoint = join(import.meta.dirname, '../../models/axk1-tiny')
    const { runner } = await loadRunner({ checkpoint, processor, sequencesMax: 2, rowsMax: 64, blockCount: 4 })
    const { blockTokens } = runner.limits
    const known = Array.from({ length: blockTokens + 3 }, (_, i) => (i * 37 + 5) % 1_000)
    const group = (from: number, to: number, blocks: readonly number[]): SequenceRows => {
      return { tokenIds: known.slice(from, to), start: from, blocks: blocks.map(block), sampler: null }
    }
    const logitsOf = async (...sequences: SequenceRows[]) =>
      bits((await runner.run({ sequences, capture: { logits: 'all', experts: false } })).logits ?? new Float32Array())
    const alone = await logitsOf(group(0, known.length, [0, 1]))
    runner.fillBlocks([0, 1, 2, 3].map(block), NaN)
    await logitsOf(group(0, 7, [2]))
    const together = await logitsOf(group(7, blockTokens, [2]), group(blockTokens, known.length, [2, 3]))
    expect(together).toEqual(alone.slice(7 * runner.limits.vocabSize))
    await runner.close()
  },
  COMPILING_MS,
)
