/** Buffers: one owner counts and frees, and the binding limit is kept. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'

let gpu: Gpu
beforeAll(async () => {
  gpu = await openDevice()
})
afterAll(() => gpu.close())

it('counts the bytes alive, and none once closed', () => {
  const buffers = new Buffers(gpu, 'test')
  expect(buffers.storage('a', 1).bytes).toBe(16)
  expect(buffers.storage('b', 33).bytes).toBe(48)
  expect(buffers.bytes).toBe(64)
  buffers.close()
  expect(buffers.bytes).toBe(0)
})

it('refuses a binding above the limit: at the limit yes, one byte more no', () => {
  const buffers = new Buffers(gpu, 'test', 64 * 1024)
  expect(buffers.storage('fits', 64 * 1024).bytes).toBe(64 * 1024)
  expect(() => buffers.storage('too large', 64 * 1024 + 1)).toThrow(/too large: need 65552 bytes/)
  buffers.close()
})

it("never exceeds the adapter's own limit", () => {
  const buffers = new Buffers(gpu, 'test')
  expect(buffers.bindingBytesMax).toBeLessThanOrEqual(gpu.limits.maxStorageBufferBindingSize)
  expect(() => buffers.storage('huge', gpu.limits.maxStorageBufferBindingSize + 1)).toThrow(/one binding holds/)
})
