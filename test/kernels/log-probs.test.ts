/** log-probs: of the chosen token and the likeliest against f64, in their order; only for the rows that ask. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { LOGPROBS_MAX, logProbs, logProbsOf, sampledBytes } from '../../gpu-worker/kernels/log-probs.ts'
import { logProbsReference } from '../../gpu-worker/kernels/log-probs.ref.ts'
import { SamplerRecords } from '../../gpu-worker/model/sampler-records.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const plain = { temperature: 0.5, topK: 3, topP: 0.5, minP: 0, seed: [1, 2], index: 0 } as const

interface Row {
  readonly logits: Float32Array
  readonly chosen: number
  /** Absent: not asked for. */
  readonly count?: number
}

async function run(rows: readonly Row[]): Promise<Uint32Array<ArrayBuffer>> {
  const vocab = rows[0]?.logits.length ?? 0
  const records = new SamplerRecords({ vocabSize: vocab, sequencesMax: rows.length, changesMax: 0 })
  for (const { count } of rows) records.add({ ...plain, ...(count !== undefined && { logprobCount: count }) })
  const words = new Uint32Array(sampledBytes(rows.length) / 4).fill(7)
  words.set(rows.map(({ chosen }) => chosen))
  const sampled = bench.slice(words)
  const logits = bench.activation(Float32Array.from(rows.flatMap((row) => [...row.logits])), vocab)
  await bench.run([logProbs({ logits, samplers: bench.slice(records.records), sampled }, rows.length)], rows.length)
  return Uint32Array.from(await bench.readU32(sampled, words.length))
}

it.each([1, 2, 20, 21, 255, 257, 5000])('of a vocabulary of %i: the chosen token and the likeliest', async (vocab) => {
  const tied = new Float32Array(vocab).fill(2)
  const rows = [
    { logits: seeded(vocab, 1, 12), chosen: vocab - 1, count: LOGPROBS_MAX },
    { logits: tied, chosen: vocab >> 1, count: 5 },
    { logits: seeded(vocab, 2), chosen: 0, count: 0 },
  ]
  const got = await run(rows)
  rows.forEach(({ logits, chosen, count }, i) => {
    const { logProbs: wanted, ranked } = logProbsReference(logits)
    const [own, ...likeliest] = logProbsOf(got, i, rows.length, Math.min(count, vocab))
    expect(own?.tokenId).toBe(chosen)
    expect(likeliest.map(({ tokenId }) => tokenId)).toEqual(ranked.slice(0, Math.min(count, vocab)))
    for (const { tokenId, logProb } of [...likeliest, ...(own === undefined ? [] : [own])])
      // Differences below 32 and their logarithm round a few times each.
      expect(Math.abs(logProb - (wanted[tokenId] ?? NaN))).toBeLessThan(1e-5)
  })
})

it('rows that ask for none are not touched; a row without a token tells no chosen one', async () => {
  const logits = seeded(300, 1)
  const got = await run([
    { logits, chosen: 3 },
    { logits: logits.map((value, id) => (id === 5 ? NaN : value)), chosen: 0xffffffff, count: 2 },
    { logits, chosen: 3, count: 2 },
  ])
  expect(logProbsOf(got, 0, 3, LOGPROBS_MAX).every(({ tokenId }) => tokenId === 7)).toBe(true)
  expect(logProbsOf(got, 1, 3, 0)[0]?.tokenId).toBe(7)
  expect(logProbsOf(got, 2, 3, 0)[0]?.tokenId).toBe(3)
})
