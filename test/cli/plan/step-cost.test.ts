/** The byte and operation model against figures worked out by hand for A.X K1. */
import { beforeAll, describe, expect, it } from 'vitest'
import { knownDevice, type PartRates, type Rates } from '../../../cli/plan/devices.ts'
import { modelWeightsSize, stageWeights } from '../../../cli/plan/stages.ts'
import {
  decodeRows,
  distinctExperts,
  pairFlops,
  prefillRows,
  ridgeTokens,
  stepTime,
  stepWork,
  totalBytes,
  type StageWeights,
} from '../../../cli/plan/step-cost.ts'
import { subjectOf, type Subject } from '../../../cli/plan/subject.ts'

const BITS = 4.5
const ENTRY_BYTES = 1152

let subject: Subject
/** A.X K1 with every weight at 4.5 bits. */
let weights: StageWeights
beforeAll(async () => {
  subject = await subjectOf({ kind: 'preset', name: 'axk1' }, null)
  const stored = stageWeights(modelWeightsSize(subject.config, subject.layout, 2 ** 31 - 4), { start: 0, end: 61 })
  weights = {
    ...stored,
    expertBytes: bytesOf(stored.expertParameters),
    restBytes: bytesOf(stored.restParameters),
    headBytes: bytesOf(stored.headParameters),
    embeddingRowBytes: 0,
  }
})

function bytesOf(parameters: number): number {
  return (parameters * BITS) / 8
}

describe('distinctExperts()', () => {
  // 192 · (1 − (23/24)^B)
  it.each([
    [1, 8],
    [4, 30.1],
    [8, 55.4],
    [16, 94.8],
    [32, 142.8],
    [64, 179.4],
    [128, 191.2],
    [256, 192],
  ])('of 192 with 8 a token, %i tokens: %d', (rows, expected) => {
    expect(distinctExperts(192, 8, rows)).toBeCloseTo(expected, 1)
  })

  it('never exceeds the experts there are, nor what the tokens choose', () => {
    for (let rows = 1; rows <= 4096; rows *= 2) {
      const distinct = distinctExperts(24, 4, rows)
      expect(distinct).toBeLessThanOrEqual(Math.min(24, 4 * rows))
    }
  })
})

describe('stepWork() of A.X K1 at 4.5 bits a weight, no cache', () => {
  it.each([
    [1, 17.8, 0.67],
    [4, 50.6, 0.88],
    [8, 88.2, 0.93],
    [16, 147, 0.96],
    [32, 218, 0.97],
    [64, 273, 0.98],
    [128, 290, 0.98],
    [256, 291, 0.98],
  ])('batch %i reads %d GB, %d of it routed experts', (batch, gigabytes, routedShare) => {
    const work = stepWork(subject.config, weights, ENTRY_BYTES, decodeRows(batch, 0), 'once')
    const bytes = totalBytes(work)
    // Three digits were given.
    expect(Math.abs(bytes / 1e9 / gigabytes - 1)).toBeLessThan(0.005)
    expect(Math.abs(work.experts.bytes / bytes - routedShare)).toBeLessThan(0.01)
  })

  it('has 10.46 billion parameters outside the routed experts and 31.60 billion active ones', () => {
    const rest = weights.restParameters + weights.headParameters
    expect(rest / 1e9).toBeCloseTo(10.46, 1)
    const { experts, rest: other } = stepWork(subject.config, weights, ENTRY_BYTES, decodeRows(1, 0), 'once')
    expect((experts.flops + other.flops) / 2 / 1e9).toBeCloseTo(31.6, 1)
  })

  it('reads 9.2 GB of cache for 32 sequences of 4,096 tokens, and does 139,264 operations a key and layer', () => {
    const { attention } = stepWork(subject.config, weights, ENTRY_BYTES, decodeRows(32, 4096), 'once')
    expect(attention.bytes).toBe(32 * 4096 * 70_272)
    expect(pairFlops(subject.config)).toBe(139_264)
    expect(attention.flops).toBe(32 * 4096 * 61 * 139_264)
  })

  it("reads as Axle's kernels do: on a CPU four rows together, on a GPU eight, experts too from twelve rows on", () => {
    const once = stepWork(subject.config, weights, ENTRY_BYTES, decodeRows(1, 0), 'once')
    const work = (reading: 'cpu' | 'gpu', rows: number) =>
      stepWork(subject.config, weights, ENTRY_BYTES, decodeRows(rows, 0), reading)
    expect(work('cpu', 9).experts.bytes).toBeCloseTo(9 * once.experts.bytes, -1)
    expect(work('cpu', 9).rest.bytes).toBe(3 * once.rest.bytes)
    expect(work('gpu', 9).rest.bytes).toBe(2 * once.rest.bytes)
    expect(work('gpu', 11).experts.bytes).toBeCloseTo(11 * once.experts.bytes, -1)
    // Twelve rows choose 96 times: under eight for each of those that are chosen; so do 48 rows.
    for (const rows of [12, 48]) {
      const distinct = distinctExperts(192, 8, rows)
      expect(work('gpu', rows).experts.bytes).toBeCloseTo((distinct / 8) * once.experts.bytes, -1)
    }
  })

  it('reads each key once for a whole chunk, and scores every row against all before it', () => {
    expect(prefillRows(100, 4, false)).toEqual({
      rows: 4,
      logitRows: 0,
      entriesRead: 104,
      pairs: 101 + 102 + 103 + 104,
    })
    expect(prefillRows(0, 4, true).logitRows).toBe(1)
  })
})

describe('stepTime()', () => {
  const part: PartRates = { bytesPerSecond: 100, flopsPerSecond: 1000, flopsPerSecondOfRow: null }
  const rates: Rates = { experts: part, rest: part, attention: part, dispatchSeconds: 0.5 }
  const none = { bytes: 0, flops: 0 }

  it('takes the longer of reading and computing for each part, and adds parts and dispatches', () => {
    const work = {
      experts: { bytes: 300, flops: 1000 },
      rest: { bytes: 100, flops: 500 },
      attention: { bytes: 100, flops: 9000 },
      rows: 1,
      dispatches: 4,
    }
    expect(stepTime(work, rates)).toEqual({ seconds: 3 + 1 + 9 + 2, bound: 'arithmetic' })
  })

  it('gives a part no more arithmetic than its rows can use', () => {
    const slow: Rates = { ...rates, attention: { ...part, flopsPerSecondOfRow: 300 } }
    const work = { experts: none, rest: none, attention: { bytes: 0, flops: 3000 }, dispatches: 0 }
    const seconds = [1, 2, 4, 8].map((rows) => stepTime({ ...work, rows }, slow).seconds)
    expect(seconds).toEqual([10, 5, 3, 3])
  })

  it('names dispatches when they take longest', () => {
    const work = { experts: none, rest: none, attention: none, rows: 1, dispatches: 100 }
    expect(stepTime(work, rates).bound).toBe('dispatches')
  })
})

describe('ridgeTokens() at 4.5 bits', () => {
  it.each([
    ['h100-80g', 'f32', 135],
    ['h100-80g', 'matrix', 1993],
    ['h200', 'matrix', 1391],
    ['4090', 'f32', 553],
    ['4090', 'matrix', 1106],
  ])('%s, %s: %i tokens', (name, arithmetic, tokens) => {
    const device = knownDevice(name, { experts: 'int4', rest: 'int8', pages: 'f16' })
    if (device === null) throw new Error(`There is no device ${name}`)
    const { bytesPerSecond, flopsPerSecond: f32 } = device.roof.experts
    const flopsPerSecond = arithmetic === 'f32' ? f32 : (device.matrixFlopsPerSecond ?? 0)
    expect(Math.round(ridgeTokens(subject.config, BITS / 8, { bytesPerSecond, flopsPerSecond }))).toBe(tokens)
  })
})
