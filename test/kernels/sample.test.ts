/** sample: a pure function of (logits row, sampler row), equal to sorting in f64 wherever f32 can tell. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { sampleReference, type SamplerFields } from '../../gpu-worker/kernels/sample.ref.ts'
import { NOT_FINITE, sample, sampleBy } from '../../gpu-worker/kernels/sample.ts'
import { SamplerRecords } from '../../gpu-worker/model/sampler-records.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const plain: SamplerFields = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: [12, 0xdeadbeef], index: 0 }
/** Two perturbed logits this close may change places in f32. */
const MARGIN_MIN = 1e-4

interface Drawn {
  readonly logits: ArrayLike<number>
  readonly sampler: SamplerFields
}

/** What samplers make of the logits; −Infinity is written as what bars a token. */
async function draw(cases: readonly Drawn[]): Promise<number[]> {
  const vocab = cases[0]?.logits.length ?? 0
  const records = new SamplerRecords({ vocabSize: vocab, sequencesMax: cases.length, changesMax: 0 })
  for (const { sampler } of cases) records.add(sampler)
  const sampled = bench.slice(new Uint32Array(cases.length))
  const logits = bench.activation(Float32Array.from(cases.flatMap(({ logits: row }) => Array.from(row))), vocab)
  const operands = { logits, samplers: bench.slice(records.records), sampled }
  await bench.run(sample(operands, cases.length), cases.length)
  const got = [...(await bench.readU32(sampled, cases.length))]
  for (const choice of ['row-choice', 'row-choice-wide'] as const) {
    await bench.run([sampleBy(['row-order', choice], operands, cases.length)], cases.length)
    const byWorkgroup = [...(await bench.readU32(sampled, cases.length))]
    expect(byWorkgroup, `by ${choice} as by the lanes of this adapter`).toEqual(got)
  }
  return got
}

/** Vocabularies around the 256 lanes, and one larger than any table in a lane. */
const vocabs = [1, 2, 255, 256, 257, 1024, 5000]

describe.each(vocabs)('vocabulary of %i', (vocab) => {
  it('greedy takes the highest logit, the lowest id among equals', async () => {
    const logits = seeded(vocab, 3)
    const tied = new Float32Array(vocab).fill(-2)
    for (const id of [vocab - 1, vocab >> 1, vocab >> 2]) tied[id] = 5
    const sampler = { ...plain, temperature: 0 }
    const wanted = [sampleReference(logits, sampler).tokenId, vocab >> 2]
    expect(
      await draw([
        { logits, sampler },
        { logits: tied, sampler },
      ]),
    ).toEqual(wanted)
  })

  it('temperature, top k, top p and min p choose what sorting in f64 chooses', async () => {
    const changes: Partial<SamplerFields>[] = [
      {},
      { temperature: 0.3 },
      { temperature: 2 },
      { topK: 1 },
      { topK: 3 },
      { topK: vocab },
      { topP: 0.9 },
      { topP: 0.3, temperature: 0.7 },
      { topP: 0 },
      { minP: 0.2 },
      { topK: 20, topP: 0.8, minP: 0.05, temperature: 1.3 },
    ]
    const cases = changes.flatMap((change, i) =>
      [0, 1, 2].map((index) => ({ logits: seeded(vocab, i + 1, 2), sampler: { ...plain, ...change, index } })),
    )
    const got = await draw(cases)
    let compared = 0
    cases.forEach(({ logits, sampler }, i) => {
      const { tokenId, margin, kept } = sampleReference(logits, sampler)
      expect(kept).toContain(got[i])
      if (margin < MARGIN_MIN) return
      compared += 1
      expect({ sampler, tokenId: got[i] }).toEqual({ sampler, tokenId })
    })
    expect(compared).toBeGreaterThan(cases.length * 0.8)
  })
})

it('top k and top p keep the lower ids among equal logits at the border', async () => {
  const logits = new Float32Array(300).fill(-20)
  for (const id of [10, 100, 200, 290]) logits[id] = 3
  const cases = Array.from({ length: 200 }, (_, index) => [
    { logits, sampler: { ...plain, topK: 2, index } },
    { logits, sampler: { ...plain, topP: 0.49, index } },
  ]).flat()
  const got = await draw(cases)
  const seen = (kind: number) => [...new Set(got.filter((_, i) => i % 2 === kind))].toSorted((a, b) => a - b)
  expect(seen(0)).toEqual([10, 100])
  const { kept } = sampleReference(logits, { ...plain, topP: 0.49 })
  expect(seen(1)).toEqual(kept.toSorted((a, b) => a - b))
})

describe('draws follow the probabilities', () => {
  const likelihoods = [0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.05, 0.02]
  const drawCount = 4000
  /** Above this once in a thousand, by degrees of freedom; the seeds are fixed. */
  const limits = new Map([
    [3, 16.3],
    [4, 18.5],
    [7, 24.3],
  ])

  /** Pearson's statistic of the draws against probabilities that need not be theirs. */
  async function chiSquare(samplers: readonly SamplerFields[], probabilities: readonly number[]): Promise<number> {
    const got = await draw(samplers.map((sampler) => ({ logits: likelihoods.map(Math.log), sampler })))
    const counts = likelihoods.map((_, id) => got.filter((token) => token === id).length)
    expect(
      counts.slice(probabilities.length).every((count) => count === 0),
      'nothing else is drawn',
    ).toBe(true)
    return probabilities.reduce(
      (sum, p, id) => sum + ((counts[id] ?? 0) - p * samplers.length) ** 2 / (p * samplers.length),
      0,
    )
  }

  const samplers = (of: (i: number) => Partial<SamplerFields>): SamplerFields[] =>
    Array.from({ length: drawCount }, (_, i) => ({ ...plain, ...of(i) }))
  const softmax = (temperature: number, count = likelihoods.length): number[] => {
    const powers = likelihoods.slice(0, count).map((p) => p ** (1 / temperature))
    const sum = powers.reduce((a, b) => a + b)
    return powers.map((power) => power / sum)
  }

  it.each<[string, (i: number) => Partial<SamplerFields>]>([
    ['by index', (index) => ({ index })],
    ['by the first word of the seed', (i) => ({ seed: [i, 0] })],
    ['by the second word of the seed', (i) => ({ seed: [0, i] })],
    ['at a temperature of 0.6', (index) => ({ index, temperature: 0.6 })],
    ['at a temperature of 1.7', (index) => ({ index, temperature: 1.7 })],
  ])('%s, over 8 tokens', async (_, of) => {
    const temperature = of(0).temperature ?? 1
    expect(await chiSquare(samplers(of), softmax(temperature))).toBeLessThan(limits.get(7) ?? 0)
  })

  it.each<Partial<SamplerFields>>([{ topK: 4 }, { topK: 6, topP: 0.8 }, { minP: 0.3 }])(
    'over what %o keeps, renormalised',
    async (border) => {
      const wanted = sampleReference(likelihoods.map(Math.log), { ...plain, ...border }).kept
      expect(wanted.length).toBeGreaterThanOrEqual(4)
      const statistic = await chiSquare(
        samplers((index) => ({ index, ...border })),
        softmax(1, wanted.length),
      )
      expect(statistic).toBeLessThan(limits.get(wanted.length - 1) ?? 0)
    },
  )

  it.each([0.8, 1.25])('and a temperature of %f passes for 1 no more', async (temperature) => {
    const statistic = await chiSquare(
      samplers((index) => ({ index, temperature })),
      softmax(1),
    )
    expect(statistic).toBeGreaterThan(2 * (limits.get(7) ?? Infinity))
  })
})

it('the smallest top p leaves the likeliest token; the lowest temperature the highest logit, the highest all alike', async () => {
  const logits = seeded(300, 8)
  const likeliest = sampleReference(logits, { ...plain, temperature: 0 }).tokenId
  const indexes = Array.from({ length: 300 }, (_, index) => index)
  const drawn = async (fields: Partial<SamplerFields>): Promise<number> =>
    new Set(await draw(indexes.map((index) => ({ logits, sampler: { ...plain, ...fields, index } })))).size
  const sampler = { ...plain, topP: 1e-9 }
  expect(await draw([{ logits, sampler }])).toEqual([likeliest])
  expect(await drawn({ topP: 1e-9 })).toBe(1)
  expect(await drawn({ temperature: 1e-30 })).toBe(1)
  // 300 draws from 300 equals leave about 1/e of them out.
  expect(await drawn({ temperature: 2 ** 126 })).toBeGreaterThan(170)
})

it('a NaN or infinite logit is reported for that sequence alone', async () => {
  const good = seeded(300, 1)
  const broken = [NaN, Infinity, -Infinity].map((value) => good.map((logit, id) => (id === 299 ? value : logit)))
  const cases = [good, ...broken, good].map((logits) => ({ logits, sampler: plain }))
  const [first, ...rest] = await draw(cases)
  expect(rest).toEqual([NOT_FINITE, NOT_FINITE, NOT_FINITE, first])
})

it('neighbours, their number and their samplers change nothing; seed and index do', async () => {
  const logits = new Float32Array(1024)
  const own = { logits, sampler: plain }
  const [alone] = await draw([own])
  const others = Array.from({ length: 7 }, (_, i) => ({
    logits: seeded(1024, i + 1),
    sampler: { ...plain, topK: i, index: i },
  }))
  expect((await draw([...others, own]))[7]).toBe(alone)
  const varied = await draw([
    { logits, sampler: { ...plain, index: 1 } },
    { logits, sampler: { ...plain, seed: [13, 0xdeadbeef] } },
    { logits, sampler: { ...plain, seed: [12, 0xdeadbeee] } },
  ])
  expect(new Set([alone, ...varied]).size).toBe(4)
})

const LOWEST = -3.4028234663852886e38

it('a token with the lowest finite logit is never drawn, however hot, whatever top k would keep', async () => {
  const logits = Float32Array.from(seeded(300, 4), (logit, id) => (id % 3 === 0 ? logit : LOWEST))
  const allowed = Array.from(logits, (logit) => (logit === Math.fround(LOWEST) ? -Infinity : logit))
  const changes: Partial<SamplerFields>[] = [
    { temperature: 2 ** 126 },
    { topK: 250 },
    { topP: 0.999_999 },
    { topK: 150, topP: 0.9 },
    { temperature: 0 },
    { temperature: 100, topK: 5 },
  ]
  const cases = changes.flatMap((change) =>
    Array.from({ length: 40 }, (_, index) => ({ logits, sampler: { ...plain, ...change, index } })),
  )
  const got = await draw(cases)
  cases.forEach(({ sampler }, i) => {
    const { tokenId, margin, kept } = sampleReference(allowed, sampler)
    expect(kept).toContain(got[i])
    expect(margin < MARGIN_MIN || got[i] === tokenId).toBe(true)
  })
  const none = { logits: new Float32Array(300).fill(LOWEST), sampler: plain }
  expect(await draw([none, { ...none, sampler: { ...plain, temperature: 0 } }])).toEqual([NOT_FINITE, NOT_FINITE])
})

it('a forced token is taken whatever the logits say, unless they are not finite', async () => {
  const good = seeded(300, 1)
  const broken = good.map((logit, id) => (id === 7 ? NaN : logit))
  const barred = good.map((logit, id) => (id === 9 ? LOWEST : logit))
  const cases = [good, barred, broken].flatMap((logits) =>
    [0, 1].map((temperature) => ({ logits, sampler: { ...plain, temperature, forcedToken: 9 } })),
  )
  expect(await draw(cases)).toEqual([9, 9, 9, 9, NOT_FINITE, NOT_FINITE])
})
