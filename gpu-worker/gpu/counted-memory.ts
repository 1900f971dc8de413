/**
 * Memory that is only counted: what is laid out on it learns its size before anything is allocated.
 *
 * Refuses what a real one would refuse. Its slices have bytes and stand for no buffer: nothing may be bound or written.
 */
import { storageBytes, type Slice, type Storage } from './buffers.ts'

export class CountedMemory implements Storage {
  /** Of everything laid out so far. */
  bytes = 0
  readonly bindingBytesMax: number

  constructor(bindingBytesMax: number) {
    this.bindingBytesMax = bindingBytesMax
  }

  storage(name: string, bytes: number): Slice {
    const size = storageBytes(name, bytes, this.bindingBytesMax)
    this.bytes += size
    return { buffer: NO_BUFFER, offset: 0, bytes: size }
  }
}

/** Carried along by who lays things out, who never looks at it. Without Dawn there is no real one to be had. */
const NO_BUFFER = {} as GPUBuffer
