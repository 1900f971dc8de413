/** adjust-logits: each field against f64, alone and together; rows that ask for nothing keep their bits. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { adjustLogitsReference } from '../../gpu-worker/kernels/adjust-logits.ref.ts'
import { adjustLogits } from '../../gpu-worker/kernels/adjust-logits.ts'
import type { SamplerRow } from '../../gpu-worker/engine/batch.ts'
import { maskWords, SamplerRecords } from '../../gpu-worker/model/sampler-records.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const plain: SamplerRow = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: [1, 2], index: 5 }
const LOWEST = Math.fround(-3.4028234663852886e38)

interface Row {
  readonly logits: Float32Array
  readonly sampler: SamplerRow
}

async function adjust(rows: readonly Row[]): Promise<Float32Array[]> {
  const vocab = rows[0]?.logits.length ?? 0
  const records = new SamplerRecords({ vocabSize: vocab, sequencesMax: rows.length, changesMax: rows.length * vocab })
  for (const { sampler } of rows) records.add(sampler)
  const operands = {
    logits: bench.activation(Float32Array.from(rows.flatMap(({ logits }) => [...logits])), vocab),
    samplers: bench.slice(records.records),
    changes: bench.slice(records.changes.length > 0 ? records.changes : new Uint32Array(4)),
    masks: bench.slice(records.masks.length > 0 ? records.masks : new Uint32Array(4)),
    adjusted: bench.result(rows.length, vocab),
  }
  await bench.run([adjustLogits(operands, rows.length)], rows.length)
  const all = await bench.read(operands.adjusted, rows.length)
  return rows.map((_, i) => all.slice(i * vocab, (i + 1) * vocab))
}

/** A mask of the tokens that `isAllowed`. */
function mask(vocab: number, isAllowed: (id: number) => boolean): Uint32Array {
  const words = new Uint32Array(maskWords(vocab))
  for (let id = 0; id < vocab; id++) if (isAllowed(id)) words[id >> 5] = (words[id >> 5] ?? 0) | (1 << (id & 31))
  return words
}

function fields(vocab: number): Partial<SamplerRow>[] {
  const promptTokens = new Set([0, vocab - 1, vocab >> 1])
  const answerCounts = new Map([
    [vocab - 1, 3],
    [vocab >> 2, 1],
  ])
  const seen = { promptTokens, answerCounts }
  const penalties = { presence: 0.7, frequency: 0.3, repetition: 1.3, ...seen }
  const logitBias = new Map([
    [0, 100],
    [vocab - 1, -3.5],
  ])
  const allowed = mask(vocab, (id) => id % 3 !== 1)
  return [
    {},
    { penalties: { presence: 0.7, frequency: 0, repetition: 1, ...seen } },
    { penalties: { presence: 0, frequency: -0.3, repetition: 1, ...seen } },
    { penalties: { presence: 0, frequency: 0, repetition: 1.3, ...seen } },
    { logitBias },
    { allowed },
    { minTokens: 6, stopTokenIds: [0, vocab - 1] },
    { minTokens: 5, stopTokenIds: [0, vocab - 1] },
    { penalties, logitBias, allowed, minTokens: 6, stopTokenIds: [vocab >> 1] },
  ]
}

it.each([1, 31, 33, 255, 257, 1024, 5000])('vocabulary of %i: every field, alone and together', async (vocab) => {
  const rows = fields(vocab).map((own, i) => ({ logits: seeded(vocab, i + 1, 8), sampler: { ...plain, ...own } }))
  const got = await adjust(rows)
  rows.forEach(({ logits, sampler }, i) => {
    const wanted = adjustLogitsReference(logits, sampler)
    const isRight = wanted.map((value, id) => {
      const own = got[i]?.[id] ?? NaN
      // Four roundings of values below 128.
      return value === -Infinity ? own === LOWEST : Math.abs(own - value) < 4e-5
    })
    expect(isRight.indexOf(false), `field ${i}`).toBe(-1)
  })
})

it('a row without changes keeps its bits beside others; a NaN or infinity stays one, barred or not', async () => {
  const vocab = 300
  const logits = seeded(vocab, 3)
  const broken = [NaN, Infinity, -Infinity].map((value) => logits.map((logit, id) => (id === 40 ? value : logit)))
  const allowed = mask(vocab, (id) => id === 7)
  const barring = { ...plain, allowed, minTokens: 9, stopTokenIds: [40] }
  const rows = [{ logits, sampler: plain }, ...broken.map((row) => ({ logits: row, sampler: barring }))]
  const [first, ...rest] = await adjust(rows)
  expect(bits(first ?? new Float32Array())).toEqual(bits(logits))
  expect(rest.map((row) => row[40])).toEqual([NaN, Infinity, -Infinity])
  expect(rest.map((row) => row[7])).toEqual(broken.map((row) => row[7]))
  expect(rest.map((row) => row[8])).toEqual([LOWEST, LOWEST, LOWEST])
})
