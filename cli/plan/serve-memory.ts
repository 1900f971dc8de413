/**
 * What serving allocates besides weights, by the serving code's own account: cache blocks, and a step's activations.
 */
import { RING_BYTES } from '../../gpu-worker/gpu/upload.ts'
import { blockBytes } from '../../gpu-worker/kernels/latent-pages.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { defaultRowsMax } from '../../gpu-worker/model/memory-fit.ts'
import { stepBytes } from '../../gpu-worker/model/memory.ts'
import { pageFormat, type Profile } from '../../gpu-worker/model/profile.ts'
import { attentionShape } from '../../gpu-worker/model/scratch.ts'
import type { CacheMemory } from './plan.ts'

export function serveMemory(config: ModelConfig, profile: Profile): CacheMemory {
  const { layerCount, contextTokensMax } = config
  return {
    blockTokens: BLOCK_TOKENS,
    blockBytes: blockBytes(attentionShape(config), pageFormat(profile)),
    // Of all layers; a range that does not end with the model takes less. With the ring that loading uploads through.
    activationBytes: ({ sequences, contextTokens }) => {
      const blockCount = sequences * Math.ceil(contextTokens / BLOCK_TOKENS)
      const limits = { rowsMax: defaultRowsMax(sequences), sequencesMax: sequences, blockCount, contextTokensMax }
      return stepBytes(config, { start: 0, end: layerCount }, limits) + RING_BYTES
    },
  }
}
