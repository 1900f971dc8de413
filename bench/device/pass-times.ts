/**
 * GPU time of a step by timestamps: of its one pass, or of every dispatch, each then in a pass of its own.
 *
 * It watches one device's encoders labelled `step`, from outside: the Runner is the one that serves. Knows no kernel. A step of
 * a pass a dispatch takes longer than others, and what lies between two dispatches is in none of the times.
 */
import { strict as assert } from 'node:assert'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import type { Gpu } from '../../gpu-worker/gpu/device.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { percentile } from '../report.ts'

/** What Dawn does unless told otherwise: timestamps rounded to 65 µs. */
export const ROUNDED_TIMESTAMPS = 'timestamp_quantization'

/** What gets a time. */
export type TimedParts = 'pass' | 'dispatches'

/** Of a dispatch, or of a pass. */
export interface PassTime {
  readonly name: string
  readonly grid: string
  readonly micros: number
}

/** Two timestamps a dispatch: WebGPU's largest set. */
const DISPATCHES_MAX = 2048
const TIMESTAMP_BYTES = 8

/** A dispatch, or a pass, with the times of all its runs. */
export interface Timed {
  readonly name: string
  readonly grid: string
  readonly micros: readonly number[]
}

/** `run` submits one step, the same each time, and waits for it. */
export async function timeRuns(gpu: Gpu, parts: TimedParts, count: number, run: () => Promise<void>): Promise<Timed[]> {
  const times = new PassTimes(gpu, parts)
  try {
    const runs: PassTime[][] = []
    for (let i = 0; i < count; i += 1) {
      await run()
      runs.push(await times.read())
    }
    const [first = []] = runs
    return first.map(({ name, grid }, i) => ({ name, grid, micros: runs.map((own) => own[i]?.micros ?? NaN) }))
  } finally {
    times.close()
  }
}

export function median({ micros }: Pick<Timed, 'micros'>): number {
  return percentile(micros, 0.5)
}

export class PassTimes {
  readonly #gpu: Gpu
  readonly #buffers: Buffers
  readonly #queries: GPUQuerySet
  readonly #resolved: GPUBuffer
  readonly #readback: Readback
  readonly #createEncoder: GPUDevice['createCommandEncoder']
  readonly #parts: TimedParts
  #timed: Omit<PassTime, 'micros'>[] = []

  constructor(gpu: Gpu, parts: TimedParts) {
    const { device } = gpu
    this.#gpu = gpu
    this.#parts = parts
    this.#buffers = new Buffers(gpu, 'timestamps')
    this.#queries = device.createQuerySet({ type: 'timestamp', count: 2 * DISPATCHES_MAX })
    const bytes = 2 * DISPATCHES_MAX * TIMESTAMP_BYTES
    this.#resolved = this.#buffers.create('resolved', bytes, GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC)
    this.#readback = new Readback(gpu, this.#buffers, bytes)
    this.#createEncoder = device.createCommandEncoder.bind(device)
    device.createCommandEncoder = (descriptor) => {
      const encoder = this.#createEncoder(descriptor)
      return descriptor?.label === 'step' ? this.#watched(encoder) : encoder
    }
  }

  /** Of the step that was submitted last. */
  async read(): Promise<PassTime[]> {
    const words = await this.#readback.read(this.#bytes, 'timestamps')
    const ticks = new BigUint64Array(words.buffer)
    return this.#timed.map(({ name, grid }, i) => {
      const [from = 0n, to = 0n] = ticks.subarray(2 * i, 2 * i + 2)
      return { name, grid, micros: Number(to - from) / 1000 }
    })
  }

  /** The device encodes as before. */
  close(): void {
    this.#gpu.device.createCommandEncoder = this.#createEncoder
    this.#queries.destroy()
    this.#buffers.close()
  }

  get #bytes(): number {
    return 2 * this.#timed.length * TIMESTAMP_BYTES
  }

  #watched(encoder: GPUCommandEncoder): GPUCommandEncoder {
    this.#timed = []
    const begin = encoder.beginComputePass.bind(encoder)
    const finish = encoder.finish.bind(encoder)
    encoder.beginComputePass = () => (this.#parts === 'pass' ? this.#begin(begin, 'pass', '') : this.#spread(begin))
    encoder.finish = (descriptor) => {
      encoder.resolveQuerySet(this.#queries, 0, 2 * this.#timed.length, this.#resolved, 0)
      this.#readback.copy(encoder, { buffer: this.#resolved, offset: 0, bytes: this.#bytes }, this.#bytes)
      return finish(descriptor)
    }
    return encoder
  }

  #begin(begin: GPUCommandEncoder['beginComputePass'], name: string, grid: string): GPUComputePassEncoder {
    const index = 2 * this.#timed.length
    assert(this.#timed.length < DISPATCHES_MAX, 'The query set holds what a step has')
    this.#timed.push({ name, grid })
    return begin({
      timestampWrites: {
        querySet: this.#queries,
        beginningOfPassWriteIndex: index,
        endOfPassWriteIndex: index + 1,
      },
    })
  }

  /** A pass that is over already: what is given to it goes into passes of its own, one a dispatch. */
  #spread(begin: GPUCommandEncoder['beginComputePass']): GPUComputePassEncoder {
    let pipeline: GPUComputePipeline | null = null
    let bindings: GPUBindGroup | null | undefined
    const facade = begin()
    facade.end()
    facade.setPipeline = (next) => {
      pipeline = next
    }
    facade.setBindGroup = (_index, group) => {
      bindings = group
    }
    facade.dispatchWorkgroups = (x, y = 1, z = 1) => {
      assert(pipeline !== null, 'A dispatch follows its pipeline')
      const pass = this.#begin(begin, pipeline.label, [x, y, z].join('×'))
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, bindings)
      pass.dispatchWorkgroups(x, y, z)
      pass.end()
    }
    facade.end = () => undefined
    return facade
  }
}
