/**
 * Decode steps given to a Runner by hand: any number of rows, each a token of its own behind one prompt in the cache.
 *
 * The tokens are drawn, not sampled, so that rows choose experts as different requests do. Knows no clock.
 */
import { strict as assert } from 'node:assert'
import type { BlockId, SamplerRow, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { dice } from '../../test/fixtures/dice.ts'

const GREEDY: SamplerRow = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0], index: 0 }

export class DecodeSteps {
  readonly #runner: ModelRunner
  readonly #config: ModelConfig
  readonly #contextTokens: number
  readonly #draw = dice(1)

  /** `contextTokens`: of the prompt, whole blocks. The Runner holds them and a block for every row. */
  constructor(runner: ModelRunner, config: ModelConfig, contextTokens: number) {
    assert(contextTokens % BLOCK_TOKENS === 0, 'The prompt ends where a block does')
    this.#runner = runner
    this.#config = config
    this.#contextTokens = contextTokens
  }

  /** Before any step. */
  async prefill(): Promise<void> {
    const { rowsMax } = this.#runner.limits
    for (let start = 0; start < this.#contextTokens; start += rowsMax) {
      const tokenIds = this.#tokens(Math.min(rowsMax, this.#contextTokens - start))
      await this.#runner.run({ sequences: [{ tokenIds, start, blocks: this.#blocks(0), sampler: null }] })
    }
  }

  async decode(rows: number): Promise<void> {
    await this.#runner.run({ sequences: this.#sequences(rows) })
  }

  /** Chosen in one layer of such a step: the mean of its layers. */
  async distinctExperts(rows: number): Promise<number> {
    const capture = { logits: 'none', experts: true } as const
    const { experts } = await this.#runner.run({ sequences: this.#sequences(rows), capture })
    return meanDistinct(experts ?? new Int32Array(), rows * this.#config.expertsPerToken)
  }

  #sequences(rows: number): SequenceRows[] {
    return this.#tokens(rows).map((tokenId, row) => ({
      tokenIds: [tokenId],
      start: this.#contextTokens,
      blocks: this.#blocks(row),
      sampler: GREEDY,
    }))
  }

  #tokens(count: number): number[] {
    return Array.from({ length: count }, () => this.#draw(0, this.#config.vocabSize - 1))
  }

  /** The prompt's, then the row's own. */
  #blocks(row: number): BlockId[] {
    const shared = this.#contextTokens / BLOCK_TOKENS
    // A block's brand says that a pool gave it; this bench is the pool.
    return Array.from({ length: shared + 1 }, (_, i) => (i < shared ? i : shared + row) as BlockId)
  }
}

/** Of experts chosen, i32 [layers, pairs of a layer]: how many different ones a layer has, the mean of layers. */
export function meanDistinct(experts: Int32Array, pairsOfLayer: number): number {
  const counts: number[] = []
  for (let at = 0; at < experts.length; at += pairsOfLayer)
    counts.push(new Set(experts.subarray(at, at + pairsOfLayer)).size)
  return counts.reduce((sum, count) => sum + count, 0) / counts.length
}
