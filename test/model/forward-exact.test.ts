/**
 * The order contract on the real forward pass: the Runner's conformance suite, and mixes of sixteen sequences.
 *
 * And the same bits when matrices and banks are split, and at every edge of the attention up to the last position.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Batch, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import { loadRunner, type LoadedRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { openGolden, scatteredBlocks } from '../fixtures/golden.ts'
import { bits } from '../fixtures/numbers.ts'
import { runnerConformance } from '../runner-conformance.ts'

const goldens = join(import.meta.dirname, '../goldens')
const yarn: LoadOptions = { checkpoint: join(goldens, 'yarn-fused-bf16'), sequencesMax: 16, rowsMax: 48 }
for (const stepsInFlight of [1, 2] as const)
  runnerConformance(
    `the model, ${stepsInFlight} in flight`,
    async () => (await loadRunner({ ...yarn, stepsInFlight })).runner,
  )

/** Forced binding limits, small enough that vocabularies, heads or experts of a layer part. */
const splits = [
  { name: 'yarn-fused-bf16', bindingKiB: 68, isSplit: false },
  // One expert of a layer, the shared one or a routed one, lies in another bank than the rest.
  { name: 'yarn-fused-bf16', bindingKiB: 64, isSplit: true },
  { name: 'yarn-fused-bf16', bindingKiB: 40, isSplit: true },
  { name: 'per-expert-f32', bindingKiB: 64, isSplit: true },
  { name: 'odd-shapes-f16', bindingKiB: 64, isSplit: true },
]

describe('the model in small row windows and banks', () => {
  const ids = Array.from({ length: 32 }, (_, i) => (i * 37 + 11) % 512)

  it.each(splits)('$name gives the same bits in $bindingKiB KiB', async ({ name, bindingKiB, isSplit }) => {
    const options = { checkpoint: join(goldens, name), sequencesMax: 4, rowsMax: 32, blockCount: 8 }
    const whole = await loadRunner(options)
    const split = await loadRunner({ ...options, bindingBytesMax: bindingKiB * 1024 })
    try {
      expect(await bitsOf(split, ids)).toEqual(await bitsOf(whole, ids))
      expect(split.runner.dispatchCount > whole.runner.dispatchCount, 'more dispatches').toBe(isSplit)
    } finally {
      await whole.runner.close()
      await split.runner.close()
    }
  })
})

describe('sixteen sequences of axk1-tiny, prefill and decode mixed at random', () => {
  let loaded: LoadedRunner
  beforeAll(async () => {
    const checkpoint = join(import.meta.dirname, '../../models/axk1-tiny')
    loaded = await loadRunner({ checkpoint, sequencesMax: 16, rowsMax: 128 })
  })
  afterAll(() => loaded.runner.close())

  it('each gives the tokens and logit bits it gives alone', async () => {
    const golden = await openGolden(join(import.meta.dirname, '../../models/axk1-tiny'))
    const prompts: number[][] = []
    for (let k = 0; k < 16; k++) prompts.push((await golden.i32(`ids.${k % 12}`)).slice(0, 20 + 7 * (k % 9)))
    await golden.close()
    const alone = []
    for (const [number, prompt] of prompts.entries()) alone.push(...(await answers(loaded, [{ number, prompt }])))
    const mixed = await answers(
      loaded,
      prompts.map((prompt, number) => ({ number, prompt })),
    )
    expect(mixed).toEqual(alone)
  })
})

describe('axk1-tiny up to its last position', () => {
  /** Keys at the edges of blocks, tiles of 64 and splits of 512, and as many as the context holds. */
  const keyCounts = [31, 32, 33, 63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 2047, 2048]

  it(
    'a row gives the same bits as a decode, in a step of three and at the end of a chunk',
    { timeout: 120_000 },
    async () => {
      const checkpoint = join(import.meta.dirname, '../../models/axk1-tiny')
      const { runner } = await loadRunner({ checkpoint, sequencesMax: 1, rowsMax: 256 })
      const { contextTokensMax, blockCount, rowsMax, vocabSize } = runner.limits
      const ids = Array.from({ length: contextTokensMax }, (_, i) => (i * 131 + (i >> 3) * 7 + 5) % 1000)
      const blocks = scatteredBlocks(contextTokensMax, 3, blockCount)
      const rows = (start: number, end: number): SequenceRows => ({
        tokenIds: ids.slice(start, end),
        start,
        blocks,
        sampler: null,
      })
      for (let start = 0; start < contextTokensMax; start += rowsMax) {
        await runner.run({ sequences: [rows(start, start + rowsMax)] })
      }
      for (const keyCount of keyCounts) {
        const bitsOfLast = async (count: number): Promise<Uint32Array> => {
          const sequences = [rows(keyCount - count, keyCount)]
          const { logits } = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
          return bits(logits?.slice(-vocabSize) ?? new Float32Array())
        }
        const decoded = await bitsOfLast(1)
        expect(decoded.length).toBe(vocabSize)
        expect(await bitsOfLast(3), `3 rows, ${keyCount} keys`).toEqual(decoded)
        expect(await bitsOfLast(30), `30 rows, ${keyCount} keys`).toEqual(decoded)
      }
      await runner.close()
    },
  )
})

interface Speaker {
  readonly number: number
  readonly prompt: readonly number[]
}

interface Answer {
  readonly tokenIds: number[]
  /** u32 bits of every position's logits. */
  readonly bits: number[][]
}

const ANSWER_TOKENS = 6

/** Answers the prompts together; who brings how many rows to a step is drawn from a fixed sequence of numbers. */
async function answers({ runner }: LoadedRunner, speakers: readonly Speaker[]): Promise<Answer[]> {
  const { rowsMax, vocabSize, blockCount } = runner.limits
  const draw = generator(speakers.length)
  const lives = speakers.map(({ number, prompt }) => ({
    number,
    known: [...prompt],
    done: 0,
    goal: prompt.length + ANSWER_TOKENS,
    blocks: scatteredBlocks(prompt.length + ANSWER_TOKENS, number * 37, blockCount),
    answer: { tokenIds: [], bits: [] } as Answer,
  }))
  while (lives.some(({ known, goal }) => known.length < goal)) {
    const step: { life: (typeof lives)[number]; rows: SequenceRows }[] = []
    let rowsLeft = rowsMax
    for (const life of lives.filter(({ known, goal }) => known.length < goal)) {
      const count = Math.min(1 + draw(17), life.known.length - life.done, rowsLeft)
      if (count === 0 || draw(4) === 0) continue
      rowsLeft -= count
      const isLast = life.done + count === life.known.length
      const index = life.answer.tokenIds.length
      const sampler = {
        temperature: life.number % 2,
        topK: 0,
        topP: 0.9,
        minP: 0,
        seed: [life.number, 1] as const,
        index,
      }
      const tokenIds = life.known.slice(life.done, life.done + count)
      step.push({ life, rows: { tokenIds, start: life.done, blocks: life.blocks, sampler: isLast ? sampler : null } })
    }
    const batch: Batch = { sequences: step.map(({ rows }) => rows), capture: { logits: 'all', experts: false } }
    const { sampled, logits } = await runner.run(batch)
    let row = 0
    for (const [i, { life, rows }] of step.entries()) {
      for (const _ of rows.tokenIds) {
        const own = logits?.slice(row * vocabSize, (row + 1) * vocabSize)
        life.answer.bits.push([...new Uint32Array(own?.buffer ?? new ArrayBuffer())])
        row += 1
      }
      life.done += rows.tokenIds.length
      const sample = sampled[i]
      if (rows.sampler === null) continue
      assert(sample?.kind === 'token')
      life.known.push(sample.tokenId)
      life.answer.tokenIds.push(sample.tokenId)
    }
  }
  return lives.map(({ answer }) => answer)
}

/** A small multiplicative generator: `draw(n)` is 0 … n − 1. */
function generator(seed: number): (n: number) => number {
  let state = seed + 1
  return (n) => {
    state = (state * 48271) % 2147483647
    return state % n
  }
}

async function bitsOf({ runner }: LoadedRunner, tokenIds: readonly number[]): Promise<Uint32Array> {
  const blocks = scatteredBlocks(tokenIds.length, 2, runner.limits.blockCount)
  const sequences = [{ tokenIds, start: 0, blocks, sampler: null }]
  const { logits } = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
  assert(logits !== undefined)
  return new Uint32Array(logits.buffer, logits.byteOffset, logits.length)
}
