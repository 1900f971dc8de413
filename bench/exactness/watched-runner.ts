/**
 * The serving Runner, watched: whose logits a step sampled from, through which kernels, and where it cut a prompt.
 *
 * A sequence has no name in a batch; its seed is one here, and (seed, index) names a row of logits. It changes nothing
 * that the Runner does but to read back the sampled rows' logits.
 */
import assert from 'node:assert/strict'
import type { Batch, SamplerRow } from '../../gpu-worker/engine/batch.ts'
import type { Runner, RunnerLimits, StepResult } from '../../gpu-worker/engine/runner.ts'

export interface SampledRow {
  readonly sampler: SamplerRow
  /** f32 [vocabSize] under which the token was chosen, before penalties and the like; lent for the call. */
  readonly logits: Float32Array
  /** Names of the kernels that its step ran, in alphabetical order. */
  readonly kernels: string
}

export interface Watch {
  onRow(row: SampledRow): void
  /** A prefill chunk that ends inside a block, with more of its prompt to come. */
  onCut(): void
}

export interface WatchableRunner extends Runner {
  /** Of the step given last, once it is given. */
  readonly kernels: readonly string[]
}

export class WatchedRunner implements Runner {
  readonly #inner: WatchableRunner
  #watch: Watch | null = null

  /** The inner Runner stays the caller's, who closes it. */
  constructor(inner: WatchableRunner) {
    this.#inner = inner
  }

  get limits(): RunnerLimits {
    return this.#inner.limits
  }

  get fingerprint(): string {
    return this.#inner.fingerprint
  }

  watch(watch: Watch): void {
    this.#watch = watch
  }

  async run(batch: Batch): Promise<StepResult> {
    const watch = this.#watch
    assert(watch !== null, 'Nobody watches')
    const { blockTokens, vocabSize } = this.limits
    for (const { tokenIds, start, sampler } of batch.sequences) {
      if (sampler === null && (start + tokenIds.length) % blockTokens !== 0) watch.onCut()
    }
    const samplers = batch.sequences.flatMap(({ sampler }) => sampler ?? [])
    const running = this.#inner.run({ ...batch, capture: { logits: 'sampled', experts: false } })
    const kernels = [...new Set(this.#inner.kernels)].sort().join(' ')
    const result = await running
    const logits = result.logits ?? new Float32Array()
    assert.equal(logits.length, samplers.length * vocabSize, 'Each sampled row has its logits')
    for (const [i, sampler] of samplers.entries()) {
      watch.onRow({ sampler, logits: logits.subarray(i * vocabSize, (i + 1) * vocabSize), kernels })
    }
    return result
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
