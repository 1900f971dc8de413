/** Every way a worker fails to start has words for a person, and the way out fits the cause. */
import { describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { StepFailed } from '../../gpu-worker/engine/engine.ts'
import { GpuError } from '../../gpu-worker/gpu/gpu-error.ts'
import { MemoryRefusal } from '../../gpu-worker/model/memory-fit.ts'
import { RedisEvicts, RedisGone } from '../../gpu-worker/redis-link.ts'
import { describeFailure } from '../../gpu-worker/start-failure.ts'

function replyError(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' })
}

describe('describeFailure()', () => {
  it.each([
    [new CheckpointError('config.json', 'quantization_config: not supported yet: {}'), 'f32, f16 or bf16'],
    [new CheckpointError('model.safetensors', 'it ends at byte 7'), 'fetch the file again'],
    [new CheckpointError('the weights', 'what the model computes with them is NaN or infinite'), 'The log names'],
    [replyError('WRONGPASS invalid username-password pair'), 'user and password'],
    [new RedisGone("Redis did not answer for 1 ms: OOM command not allowed when used memory > 'maxmemory'."), 'memory'],
    [new RedisGone('Redis did not answer for 1 ms'), 'Start Redis'],
    [new RedisEvicts('it evicts'), 'noeviction'],
    [Object.assign(new Error('no adapter'), { name: 'GpuError', kind: 'no-adapter' }), 'Vulkan driver'],
    [new GpuError('limit', 'too much'), 'AXLE_KV_BYTES'],
    [new GpuError('memory', 'no memory left'), 'AXLE_GPU_BYTES'],
    [new GpuError('toggle', 'Dawn knows no toggle x'), 'AXLE_DAWN_TOGGLES'],
    [new GpuError('pipeline', 'no matrix units'), 'AXLE_PROFILE'],
    [new StepFailed({ sequences: [] }, new GpuError('memory', 'no memory left')), 'AXLE_GPU_BYTES'],
    [new StepFailed({ sequences: [] }, new GpuError('device-lost', 'lost')), 'driver'],
    [new MemoryRefusal('does not fit', 'AXLE_SLOTS=4 would fit'), 'AXLE_SLOTS=4'],
  ])('%s', (error, wayOut) => {
    expect(describeFailure(error).wayOut).toContain(wayOut)
    expect(describeFailure(error).message).toContain(error.message)
  })

  it('repeats nothing of an error that it does not know', () => {
    const { message, wayOut } = describeFailure(new TypeError('a prompt'))
    expect(message + wayOut).not.toContain('a prompt')
  })
})
