/**
 * Brings a few bytes back from the GPU: a staging buffer, a copy, a map with a deadline.
 *
 * One read at a time: two steps in flight need two. Knows nothing of what the bytes mean.
 */
import type { Buffers, Slice } from './buffers.ts'
import type { Gpu } from './device.ts'

export class Readback {
  readonly #gpu: Gpu
  readonly #staging: GPUBuffer

  /** The staging buffer belongs to `buffers`. */
  constructor(gpu: Gpu, buffers: Buffers, bytesMax: number) {
    this.#gpu = gpu
    this.#staging = buffers.create('staging', bytesMax, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST)
  }

  /** Adds the copy to a step; `bytes` is a multiple of 4. */
  copy(encoder: GPUCommandEncoder, source: Slice, bytes: number): void {
    encoder.copyBufferToBuffer(source.buffer, source.offset, this.#staging, 0, bytes)
  }

  /** The bytes copied by the step just submitted. */
  async read(bytes: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    await this.#gpu.wait(this.#staging.mapAsync(GPUMapMode.READ, 0, bytes), what)
    const copy = new Uint8Array(this.#staging.getMappedRange(0, bytes)).slice()
    this.#staging.unmap()
    return copy
  }
}
