/**
 * A checkpoint that is computed: any layers of any config in any mix of formats, loaded into the real Runner, and the
 * same weights for a reference. Knows no layer from another.
 */
import type { Gpu } from '../../gpu-worker/gpu/device.ts'
import { checkpointShape, type CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import type { Checkpoint } from '../../gpu-worker/model/checkpoint.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { loadRunner, type LoadedRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { hashedWord, rowSeed, seedOf } from './counter-hash.ts'
import { HashedRows } from './hashed-rows.ts'
import { HashedWeights, type FalseScale, type Storage } from './hashed-weights.ts'

/** `onDevice` is told the device before weights are filled: for what watches it. */
export function loadHashedModel(
  config: ModelConfig,
  mix: CheckpointMix,
  { onDevice, ...options }: Omit<LoadOptions, 'checkpoint' | 'rowSource'> & { readonly onDevice?: (gpu: Gpu) => void },
): Promise<LoadedRunner> {
  const { tensors, quantization } = checkpointShape(config, mix)
  const checkpoint: Checkpoint = {
    dir: 'counter hash',
    config,
    quantization,
    digest: 'counter hash',
    tensors,
    read: noBytes,
    readInto: noBytes,
    close: () => Promise.resolve(),
  }
  const rowSource = (gpu: Gpu): HashedRows => {
    onDevice?.(gpu)
    return new HashedRows(gpu)
  }
  return loadRunner({ ...options, checkpoint, rowSource })
}

function noBytes(): Promise<never> {
  return Promise.reject(new Error('These weights are computed, not read'))
}

/** The weights of `loadHashedModel` as numbers: stored as `checkpointShape` stores them. */
export function hashedWeights({ experts, rest, group }: CheckpointMix, falseScale: FalseScale | null): HashedWeights {
  const storageOf = (module: string): Storage => {
    if (/norm$|\.mlp\.gate$/.test(module)) return { kind: 'bf16' }
    const kind = module.includes('.experts.') ? experts : rest
    if (kind === 'fp8') throw new RangeError('The reference has no fp8')
    return kind === 'bf16' ? { kind } : { kind, group }
  }
  return new HashedWeights(storageOf, falseScale)
}

/** f32 [width], uniform in ±√3: variance 1. By this name no token of the bench comes near a tie of experts. */
export function hashedInput(token: number, width: number): Float32Array {
  const seed = rowSeed(seedOf('a residual stream'), token)
  return Float32Array.from({ length: width }, (_, i) => (hashedWord(seed, i) / 2 ** 31 - 1) * Math.sqrt(3))
}
