/**
 * A Runner whose answers are drawn: every place of the batch has tokens of its own, whatever the logits say.
 *
 * Greedy answers of hashed weights fall into the same tokens, and rows of the same token choose the same experts. Everything
 * is computed as for any other answer. For steps whose sequences keep their places.
 */
import type { Batch, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { Runner } from '../../gpu-worker/engine/runner.ts'

export function drawnAnswers(runner: Runner): Runner {
  const { limits, fingerprint } = runner
  const drawn = (rows: SequenceRows, place: number): SequenceRows => {
    if (rows.sampler === null) return rows
    return {
      ...rows,
      sampler: { ...rows.sampler, forcedToken: drawnToken(place, rows.sampler.index, limits.vocabSize) },
    }
  }
  return {
    limits,
    fingerprint,
    run: (batch: Batch) => runner.run({ ...batch, sequences: batch.sequences.map(drawn) }),
    close: () => runner.close(),
  }
}

/** Factors of xxHash: no two of a bench's places and indexes give the same product. */
function drawnToken(place: number, index: number, vocabSize: number): number {
  const mixed = Math.imul(place + 1, 0x9e37_79b1) ^ Math.imul(index + 1, 0x85eb_ca77)
  return (Math.imul(mixed ^ (mixed >>> 15), 0xc2b2_ae3d) >>> 0) % vocabSize
}
