/**
 * Brings bytes to the GPU through a small ring of mapped buffers, never faster than the GPU takes them.
 *
 * Writes gather in a mapped buffer until it is full: a thousand small ones are one submit. Host memory in flight is at
 * most the ring. For the bulk (weights); a step's few bytes go by `writeBuffer`.
 */
import { Buffers } from './buffers.ts'
import type { Gpu } from './device.ts'

/** On an H100, four buffers of 16 MiB moved 8 GB/s where `writeBuffer` moved 1.3. */
const RING_BUFFERS = 4
export const RING_BUFFER_BYTES = 16 * 1024 * 1024
/** What a ring takes at most. */
export const RING_BYTES = RING_BUFFERS * RING_BUFFER_BYTES
/** Where a write may start in a mapped buffer: what typed arrays over it want, and a multiple of what copies demand. */
const WRITE_ALIGNMENT_BYTES = 16

interface RingSlot {
  readonly buffer: GPUBuffer
  mapped: Promise<unknown>
}

interface OpenSlot {
  readonly slot: RingSlot
  readonly range: ArrayBuffer
  readonly encoder: GPUCommandEncoder
  usedBytes: number
}

/** One write at a time: await each before the next. */
export class Uploader {
  readonly #gpu: Gpu
  readonly #buffers: Buffers
  readonly #ring: RingSlot[] = []
  readonly #slotBytes: number
  #next = 0
  #open: OpenSlot | null = null

  constructor(gpu: Gpu, slotBytes = RING_BUFFER_BYTES) {
    this.#gpu = gpu
    this.#buffers = new Buffers(gpu, 'upload-ring')
    this.#slotBytes = slotBytes
  }

  /** Copies `bytes` (a multiple of 4) to `target` at `offset`. Resolves when they are taken over: see `close`. */
  async write(target: GPUBuffer, offset: number, bytes: Uint8Array): Promise<void> {
    for (let start = 0; start < bytes.byteLength;) {
      const open = await this.#openSlot(WRITE_ALIGNMENT_BYTES)
      const chunk = bytes.subarray(start, start + this.#slotBytes - open.usedBytes)
      this.#append(open, target, offset + start, chunk.byteLength).set(chunk)
      start += chunk.byteLength
    }
  }

  /**
   * The same for `byteLength` bytes (a multiple of 4) that `fill` puts into mapped memory: write only, every byte, in any
   * order; its offset is a multiple of 16. It may not keep them.
   */
  async fill(
    target: GPUBuffer,
    offset: number,
    byteLength: number,
    fill: (bytes: Uint8Array<ArrayBuffer>) => void,
  ): Promise<void> {
    if (byteLength > this.#slotBytes) {
      const bytes = new Uint8Array(byteLength)
      fill(bytes)
      await this.write(target, offset, bytes)
      return
    }
    fill(this.#append(await this.#openSlot(byteLength), target, offset, byteLength))
  }

  /** Sends what is gathered, waits for the copies, then frees the ring. */
  async close(): Promise<void> {
    try {
      this.#send()
      for (const slot of this.#ring) await this.#gpu.wait(slot.mapped, 'upload')
    } finally {
      this.#buffers.close()
    }
  }

  #append(open: OpenSlot, target: GPUBuffer, offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
    const start = open.usedBytes
    open.usedBytes += Math.ceil(byteLength / WRITE_ALIGNMENT_BYTES) * WRITE_ALIGNMENT_BYTES
    open.encoder.copyBufferToBuffer(open.slot.buffer, start, target, offset, byteLength)
    return new Uint8Array(open.range, start, byteLength)
  }

  /** The slot being gathered if `byteLength` more bytes fit, else the next one once the GPU has let go of it. */
  async #openSlot(byteLength: number): Promise<OpenSlot> {
    if (this.#open !== null && this.#open.usedBytes + byteLength <= this.#slotBytes) return this.#open
    this.#send()
    const slot = await this.#freeSlot()
    const encoder = this.#gpu.device.createCommandEncoder({ label: 'upload' })
    this.#open = { slot, range: slot.buffer.getMappedRange(), encoder, usedBytes: 0 }
    return this.#open
  }

  #send(): void {
    if (this.#open === null) return
    const { slot, encoder } = this.#open
    this.#open = null
    slot.buffer.unmap()
    this.#gpu.device.queue.submit([encoder.finish()])
    slot.mapped = slot.buffer.mapAsync(GPUMapMode.WRITE)
    // Seen by the next use or by `close`.
    slot.mapped.catch(() => {})
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
