/**
 * The sampler on the bench: rows of random logits, greedy or with the model's own borders; every token checked in f64.
 */
import type { ProbeBench } from '../../cli/plan/probe-bench.ts'
import { sampleReference } from '../../gpu-worker/kernels/sample.ref.ts'
import { sample } from '../../gpu-worker/kernels/sample.ts'
import { SamplerRecords } from '../../gpu-worker/model/sampler-records.ts'
import { seeded } from '../../test/fixtures/numbers.ts'

export interface SamplerCase {
  readonly vocab: number
  readonly rows: number
  readonly temperature: number
  readonly topP: number
}

/** Two perturbed logits this close may change places in f32. */
const MARGIN_MIN = 1e-4

export function samplerName({ vocab, rows, temperature, topP }: SamplerCase): string {
  return `sampler, ${rows} × ${vocab}, ${temperature === 0 ? 'greedy' : `temperature ${temperature}, top p ${topP}`}`
}

/** Seconds, and the bytes of the logits. */
export async function timeSampler(
  bench: ProbeBench,
  { vocab, rows, temperature, topP }: SamplerCase,
): Promise<{ readonly seconds: number; readonly bytes: number }> {
  const values = seeded(rows * vocab, 3, 2)
  const logits = { slice: bench.storage('logits', rows * vocab * 4), width: vocab, stride: vocab }
  bench.write(logits.slice, values)
  const records = new SamplerRecords({ vocabSize: vocab, sequencesMax: rows, changesMax: 0 })
  const fields = { temperature, topK: 0, topP, minP: 0, index: 5 }
  for (let row = 0; row < rows; row++) records.add({ ...fields, seed: [row, 9] })
  const samplers = bench.storage('samplers', records.records.byteLength)
  bench.write(samplers, records.records)
  const sampled = bench.storage('sampled', rows * 4)
  const seconds = await bench.seconds(sample({ logits, samplers, sampled }, rows), rows)
  const got = new Uint32Array(await bench.read(sampled, rows * 4))
  got.forEach((tokenId, row) => {
    const own = values.subarray(row * vocab, (row + 1) * vocab)
    const wanted = sampleReference(own, { ...fields, seed: [row, 9] })
    bench.check('sampler', wanted.margin < MARGIN_MIN || wanted.tokenId === tokenId)
  })
  return { seconds, bytes: values.byteLength }
}
