/**
 * Whether a process stays as big as it was: its resident memory, its heap behind a collection, and its GPU buffers.
 *
 * It does not know what the process does, nor how much is too much.
 */
import v8 from 'node:v8'
import vm from 'node:vm'

export interface MemorySample {
  /** Resident: on a software adapter this holds the GPU's buffers as well. */
  readonly rssBytes: number
  /** Heap and what it holds outside itself, behind a full collection. */
  readonly heapBytes: number
  readonly gpuBytes: number
}

export class MemoryWatch {
  readonly samples: MemorySample[] = []
  readonly #gpuBytes: () => number
  readonly #collect: () => void

  constructor(gpuBytes: () => number) {
    v8.setFlagsFromString('--expose-gc')
    this.#gpuBytes = gpuBytes
    // What the flag exposes is a function of new contexts.
    this.#collect = vm.runInNewContext('gc') as () => void
  }

  sample(): MemorySample {
    this.#collect()
    const { rss, heapUsed, external } = process.memoryUsage()
    const sample = { rssBytes: rss, heapBytes: heapUsed + external, gpuBytes: this.#gpuBytes() }
    this.samples.push(sample)
    return sample
  }

  /** By kind, from the median of the middle third to that of the last: what still grows behind the first third. */
  growth(): MemorySample {
    const of = (kind: keyof MemorySample) => medianGrowth(this.samples.map((sample) => sample[kind]))
    return { rssBytes: of('rssBytes'), heapBytes: of('heapBytes'), gpuBytes: of('gpuBytes') }
  }
}

export function medianGrowth(values: readonly number[]): number {
  const third = Math.floor(values.length / 3)
  return median(values.slice(2 * third)) - median(values.slice(third, 2 * third))
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
