/**
 * The serving Runner, watched: whose logits a step sampled from, through which kernels, and where it cut a prompt.
 *
 * A sequence has no name in a batch; its seed is one here, and (seed, index) names a row of logits. It changes nothing
 * that the Runner does but to read back the sampled rows' logits. Kernels are seen where WebGPU is called.
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

export class WatchedRunner implements Runner {
  readonly #inner: Runner
  #watch: Watch | null = null

  /** The inner Runner stays the caller's, who closes it. */
  constructor(inner: Runner) {
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
    const { result: running, kernels } = kernelsOf(() =>
      this.#inner.run({ ...batch, capture: { logits: 'sampled', experts: false } }),
    )
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

/** Of the step that is being encoded. */
let seen: Set<string> | null = null
let isWatching = false

/** The kernels that `act` sets before its first await, which for a Runner are all of its step's. */
function kernelsOf<T>(act: () => T): { readonly result: T; readonly kernels: string } {
  watchPipelines()
  seen = new Set()
  const result = act()
  const kernels = [...seen].sort().join(' ')
  seen = null
  assert(kernels !== '', 'A step encodes its dispatches before it awaits anything')
  return { result, kernels }
}

function watchPipelines(): void {
  if (isWatching) return
  isWatching = true
  const names = new WeakMap<GPUComputePipeline, string>()
  // oxlint-disable-next-line typescript/unbound-method -- called on a pass each time
  const { setPipeline } = GPUComputePassEncoder.prototype
  GPUComputePassEncoder.prototype.setPipeline = function (pipeline) {
    // A label is asked of Dawn itself: once.
    const name = names.get(pipeline) ?? pipeline.label
    names.set(pipeline, name)
    seen?.add(name)
    setPipeline.call(this, pipeline)
  }
}
