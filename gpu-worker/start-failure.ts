/** Why a GPU worker could not start, or cannot go on, in words for a person, and what they can do about it. */
import { z } from 'zod'
import { evictionWayOut } from '../contract/redis-eviction.ts'

export interface StartFailure {
  readonly message: string
  readonly wayOut: string
}

/** Every error has a way out; an unknown one points at the log. Nothing here holds tenant data: no job is involved. */
export function describeFailure(error: unknown): StartFailure {
  if (error instanceof z.ZodError) {
    const wrong = error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
    return {
      message: `The GPU worker's settings are wrong\n${wrong.join('\n')}`,
      wayOut: wrong.length === 1 ? 'Correct this environment variable.' : 'Correct these environment variables.',
    }
  }
  if (!(error instanceof Error)) return { message: 'The GPU worker failed', wayOut: 'Its log says where.' }
  const message = error.message
  switch (error.name) {
    case 'CheckpointError':
      return { message, wayOut: checkpointWayOut(message) }
    case 'GpuError':
      if ('wayOut' in error && typeof error.wayOut === 'string') return { message, wayOut: error.wayOut }
      return { message, wayOut: gpuWayOut('kind' in error ? error.kind : null) }
    case 'RedisGone':
      return { message, wayOut: redisWayOut(message) }
    case 'RedisEvicts':
      return { message, wayOut: evictionWayOut }
    case 'ReplyError':
      return { message: `Redis refused a command: ${message}`, wayOut: redisWayOut(message) }
    case 'StepFailed':
      return {
        message: `${message}: ${error.cause instanceof Error ? error.cause.message : 'the GPU gave no reason'}`,
        wayOut: gpuWayOut(error.cause instanceof Error && 'kind' in error.cause ? error.cause.kind : null),
      }
    default:
      return { message: `The GPU worker failed: ${error.name}`, wayOut: 'Its log says where.' }
  }
}

function checkpointWayOut(message: string): string {
  if (message.includes('NaN')) return 'The log names every tensor that holds NaN or infinity: fetch its file again.'
  return message.includes('not supported')
    ? 'Point AXLE_MODEL at an A.X K1 or DeepSeek-V3 shaped checkpoint in f32, f16 or bf16, or quantised to int4, int8 or fp8.'
    : 'Point AXLE_MODEL at a complete checkpoint folder, or fetch the file again.'
}

function redisWayOut(message: string): string {
  if (/\b(NOAUTH|WRONGPASS|NOPERM)\b/.test(message)) return 'Check the user and password in REDIS_URL.'
  if (/\b(OOM|MISCONF)\b/.test(message)) return 'Redis takes no writes: give it more memory or disk.'
  return 'Start Redis, or point REDIS_URL at one that runs and lets this worker in.'
}

function gpuWayOut(kind: unknown): string {
  if (kind === 'no-adapter') return 'Install a Vulkan driver (on a machine without a GPU: Mesa lavapipe 24 or newer).'
  if (kind === 'pipeline') return 'Choose another AXLE_PROFILE or AXLE_TOGGLES, or look at the GPU driver.'
  if (kind === 'toggle') return 'Correct AXLE_DAWN_TOGGLES: Dawn would skip such a name in silence.'
  if (kind === 'memory') {
    return 'Set AXLE_GPU_BYTES to what this GPU has free, lower AXLE_KV_BYTES or AXLE_SLOTS, or try AXLE_PROFILE=kv16.'
  }
  if (kind === 'limit') return 'Lower AXLE_SLOTS or AXLE_KV_BYTES, or use a GPU with more memory.'
  return 'Start the worker again; if it fails again, look at the GPU driver.'
}
