/**
 * What serving allocates besides weights, by the serving code's own account: cache blocks, and a step's activations.
 */
import { blockBytes } from '../../gpu-worker/kernels/latent-pages.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { DEFAULT_ROWS_MAX } from '../../gpu-worker/model/memory-fit.ts'
import { stepBytes } from '../../gpu-worker/model/memory.ts'
import { pageFormat, type Profile } from '../../gpu-worker/model/profile.ts'
import { attentionShape } from '../../gpu-worker/model/scratch.ts'
import type { CacheMemory } from './plan.ts'

export function serveMemory(config: ModelConfig, profile: Profile): CacheMemory {
  return {
    blockTokens: BLOCK_TOKENS,
    blockBytes: blockBytes(attentionShape(config), pageFormat(profile)),
    activationBytes: ({ sequences, contextTokens }) => {
      const blockCount = sequences * Math.ceil(contextTokens / BLOCK_TOKENS)
      const { contextTokensMax, layerCount } = config
      const limits = { rowsMax: DEFAULT_ROWS_MAX, sequencesMax: sequences, blockCount, contextTokensMax }
      return stepBytes(config, { start: 0, end: layerCount }, limits)
    },
  }
}
