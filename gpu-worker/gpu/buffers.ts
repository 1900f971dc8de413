/**
 * GPU memory with one named owner: it creates buffers, counts their bytes and frees them together.
 *
 * Knows nothing of what is stored. New memory is not assumed to be zero by anyone.
 */
import type { Gpu } from './device.ts'
import { GpuError } from './gpu-error.ts'

/** Part of a buffer that a shader binds. */
export interface Slice {
  readonly buffer: GPUBuffer
  readonly offset: number
  readonly bytes: number
}

/** Who gives bindings their memory: `Buffers` allocates it, an account (`gpu/counted-memory.ts`) counts it. */
export interface Storage {
  readonly bindingBytesMax: number
  /** At least `bytes`. Throws GpuError 'limit' above the binding limit. */
  storage(name: string, bytes: number): Slice
}

export class Buffers implements Storage {
  /** Sum of the buffers alive. */
  bytes = 0
  readonly owner: string
  readonly #gpu: Gpu
  readonly #alive = new Set<GPUBuffer>()
  /** Largest storage binding: the adapter's limit or a smaller one that a test forces. */
  readonly bindingBytesMax: number

  constructor(gpu: Gpu, owner: string, bindingBytesMax = Infinity) {
    this.#gpu = gpu
    this.owner = owner
    this.bindingBytesMax = Math.min(bindingBytesMax, gpu.limits.maxStorageBufferBindingSize, gpu.limits.maxBufferSize)
  }

  /** A storage buffer of at least `bytes`, freed by this owner. Throws GpuError 'limit' above the binding limit. */
  storage(name: string, bytes: number): Slice {
    const size = storageBytes(`${this.owner}/${name}`, bytes, this.bindingBytesMax)
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
    return { buffer: this.create(name, size, usage), offset: 0, bytes: size }
  }

  create(name: string, bytes: number, usage: GPUBufferUsageFlags, mappedAtCreation = false): GPUBuffer {
    const buffer = this.#gpu.device.createBuffer({
      label: `${this.owner}/${name}`,
      size: bytes,
      usage,
      mappedAtCreation,
    })
    this.#alive.add(buffer)
    this.bytes += bytes
    return buffer
  }

  close(): void {
    for (const buffer of this.#alive) buffer.destroy()
    this.#alive.clear()
    this.bytes = 0
  }
}

/** What a storage buffer of `bytes` takes. Throws GpuError 'limit'. */
export function storageBytes(name: string, bytes: number, bindingBytesMax: number): number {
  const size = Math.max(ALIGNMENT_BYTES, Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
  if (size <= bindingBytesMax) return size
  throw new GpuError('limit', `Cannot allocate ${name}: need ${size} bytes, one binding holds ${bindingBytesMax}`)
}

/** A `vec4<f32>`: what the kernels load at a time, and a multiple of what copies demand. */
const ALIGNMENT_BYTES = 16
