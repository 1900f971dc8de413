/** Uploads and readbacks: the same bytes come back, whatever the size of the ring. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { Uploader } from '../../gpu-worker/gpu/upload.ts'

let gpu: Gpu
beforeAll(async () => {
  gpu = await openDevice()
})
afterAll(() => gpu.close())

it.each([4, 1020, 1024, 1028, 9000])(
  '%i bytes through a ring of four times 1,024 arrive whole, at their offset',
  async (count) => {
    const buffers = new Buffers(gpu, 'test')
    const target = buffers.storage('target', 64 + count)
    const uploader = new Uploader(gpu, 1024)
    const bytes = Uint8Array.from({ length: count }, (_, i) => (i * 7 + (i >> 8)) % 251)
    await uploader.write(target.buffer, 64, bytes)
    await uploader.close()
    const readback = new Readback(gpu, buffers, 64 + count)
    const encoder = gpu.device.createCommandEncoder()
    readback.copy(encoder, target, 64 + count)
    gpu.device.queue.submit([encoder.finish()])
    expect((await readback.read(64 + count, 'a test')).subarray(64)).toEqual(bytes)
    buffers.close()
  },
)
