/**
 * What serving allocates besides weights, by the serving code's own account: cache blocks, and a step's activations.
 */
import { blockBytes } from '../../gpu-worker/kernels/latent-pages.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { pageFormat, type Profile } from '../../gpu-worker/model/profile.ts'
import { attentionShape } from '../../gpu-worker/model/scratch.ts'
import type { CacheMemory } from './plan.ts'

export function serveMemory(config: ModelConfig, profile: Profile): CacheMemory {
  return {
    blockTokens: BLOCK_TOKENS,
    blockBytes: blockBytes(attentionShape(config), pageFormat(profile)),
    activationBytes: () => 0,
  }
}
