/**
 * The engine's only view of a GPU: a Runner executes one step and returns what it sampled.
 *
 * It knows nothing of WebGPU, weights, text, queues or time. Two implementations stand behind it: the model's forward
 * pass (`gpu-worker/model/`) and the deterministic fake of the tests (`test/fake-runner.ts`); both pass one conformance suite.
 */
import type { Batch } from './batch.ts'

/** What a Runner can hold and do; fixed for its life. */
export interface RunnerLimits {
  /** Rows (tokens) in one step, prefill and decode together. */
  readonly rowsMax: number
  /** Sequences in one step. */
  readonly sequencesMax: number
  /** Token positions in one KV block. */
  readonly blockTokens: number
  /** KV blocks in the pool, ids 0 … blockCount − 1. */
  readonly blockCount: number
  /** Longest sequence, prompt and answer together. */
  readonly contextTokensMax: number
  readonly vocabSize: number
  /** Steps that may be in flight at once; 1 if absent. */
  readonly stepsInFlightMax?: 1 | 2
}

export interface TokenLogProb {
  readonly tokenId: number
  readonly logProb: number
}

/** What was sampled for one sequence whose `sampler` was set. */
export type Sampled =
  | {
      readonly kind: 'token'
      readonly tokenId: number
      /** The token's own, then the likeliest in order, under the logits as they are; only when asked for. */
      readonly logProbs?: readonly TokenLogProb[]
    }
  /** A NaN or infinite logit: this sequence fails, the others go on. */
  | { readonly kind: 'not-finite' }

/** Results of one step, in the order of `Batch.sequences`; `null` where the sequence had no sampler. */
export interface StepResult {
  readonly sampled: readonly (Sampled | null)[]
  /** In the order of `Batch.sequences`, then of its rows: the given token's own, then the likeliest; null where not asked. */
  readonly promptLogProbs?: readonly (readonly (readonly TokenLogProb[])[] | null)[]
  /** f32 [rows, vocabSize], every row of the step or every one sampled, in order; as `Batch.capture` asked for. */
  readonly logits?: Float32Array
  /** i32 [moeLayers, rows, expertsPerToken], in rank order (score descending); only when asked for. */
  readonly experts?: Int32Array
}

export interface Runner {
  readonly limits: RunnerLimits
  /** Hash of model, profile, layers, kernels, adapter, driver, Dawn and toggles: equal fingerprints give equal bits. */
  readonly fingerprint: string
  /**
   * Executes one step: writes the rows' KV entries, computes logits where wanted, samples.
   * Up to `stepsInFlightMax` may be under way: they run and resolve in the order given, each upon the KV that the one
   * before left, and read the batch before they return. One that captures more than sampled logits runs alone.
   * Rejects when the step failed as a whole (device lost, deadline, validation error): then nothing of it counts, nor of
   * those behind it, and the Runner must not be used again.
   */
  run(batch: Batch): Promise<StepResult>
  close(): Promise<void>
}
