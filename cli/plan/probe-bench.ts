/**
 * Runs probe dispatches on an open GPU and times them: seconds of the best try, results read back to be checked.
 *
 * Knows no device and no model. The clock is the host's, around submits long enough to hide it.
 */
import { readFileSync } from 'node:fs'
import { Buffers, type Slice } from '../../gpu-worker/gpu/buffers.ts'
import type { Gpu } from '../../gpu-worker/gpu/device.ts'
import { Pipelines } from '../../gpu-worker/gpu/pipelines.ts'
import type { Access, Dispatch, Processor } from '../../gpu-worker/gpu/program.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { buildRecipe, type Recipe } from '../../gpu-worker/gpu/recipe.ts'

/** A try must last so long that a submit's own time, some 0.1 ms, is small beside it. */
const TRY_SECONDS = 0.1
const TRIES = 3
const REPEATS_MAX = 4096
/** Submits of a try. */
const PARTS = 8

export class ProbeBench {
  readonly #gpu: Gpu
  readonly #pipelines: Pipelines
  readonly #buffers: Buffers

  constructor(gpu: Gpu) {
    this.#gpu = gpu
    this.#pipelines = new Pipelines(gpu)
    this.#buffers = new Buffers(gpu, 'probes')
  }

  get bindingBytesMax(): number {
    return this.#buffers.bindingBytesMax
  }

  get processor(): Processor {
    return this.#gpu.processor
  }

  storage(name: string, bytes: number): Slice {
    return this.#buffers.storage(name, bytes)
  }

  write(
    slice: Slice,
    values: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>,
    at = 0,
  ): void {
    if (values.length > 0) this.#gpu.device.queue.writeBuffer(slice.buffer, slice.offset + at, values)
  }

  /** These bytes over and over, as long as they fit whole: from the host once. */
  repeat(slice: Slice, bytes: Uint8Array<ArrayBuffer>): void {
    const { device } = this.#gpu
    const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
    const source = device.createBuffer({ label: 'piece', size: bytes.byteLength, usage })
    device.queue.writeBuffer(source, 0, bytes)
    const encoder = device.createCommandEncoder()
    for (let at = 0; at + bytes.byteLength <= slice.bytes; at += bytes.byteLength)
      encoder.copyBufferToBuffer(source, 0, slice.buffer, slice.offset + at, bytes.byteLength)
    device.queue.submit([encoder.finish()])
    // The queue keeps it until it has been read.
    source.destroy()
  }

  async run(dispatch: Dispatch, rows = 1): Promise<void> {
    await this.#submit(await this.#recipe([dispatch]), rows, 1)
  }

  /** Seconds of all dispatches, run once: the best of a few tries, each of as many runs as make it long enough. */
  async seconds(dispatches: readonly Dispatch[], rows = 1): Promise<number> {
    const recipe = await this.#recipe(dispatches)
    let repeats = 1
    let seconds = await this.#submit(recipe, rows, repeats)
    while (seconds < TRY_SECONDS && repeats < REPEATS_MAX) {
      repeats = Math.min(REPEATS_MAX, Math.ceil(repeats * Math.min(8, (1.5 * TRY_SECONDS) / seconds)))
      seconds = await this.#submit(recipe, rows, repeats)
    }
    for (let i = 1; i < TRIES; i++) seconds = Math.min(seconds, await this.#submit(recipe, rows, repeats))
    return seconds / repeats
  }

  async read(slice: Slice, bytes: number): Promise<ArrayBuffer> {
    const readback = new Readback(this.#gpu, this.#buffers, bytes)
    const encoder = this.#gpu.device.createCommandEncoder()
    readback.copy(encoder, slice, bytes)
    this.#gpu.device.queue.submit([encoder.finish()])
    return (await readback.read(bytes, 'reading a probe')).buffer
  }

  check(name: string, isRight: boolean): void {
    if (!isRight) throw new Error(`Cannot measure this GPU: the probe ${name} computed something else than it must`)
  }

  close(): void {
    this.#buffers.close()
  }

  async #recipe(dispatches: readonly Dispatch[]): Promise<Recipe<'all'>> {
    const list = dispatches.map((dispatch) => ({ dispatch, rows: 'all' as const }))
    return buildRecipe(this.#gpu, this.#pipelines, this.#buffers, list)
  }

  async #submit(recipe: Recipe<'all'>, rows: number, repeats: number): Promise<number> {
    const start = performance.now()
    for (let done = 0; done < repeats;) {
      const encoder = this.#gpu.device.createCommandEncoder()
      const pass = encoder.beginComputePass()
      // The GPU computes one part while the host encodes the next.
      const end = Math.min(repeats, done + Math.ceil(repeats / PARTS))
      for (; done < end; done++) recipe.encode(pass, { all: rows })
      pass.end()
      this.#gpu.device.queue.submit([encoder.finish()])
    }
    await this.#gpu.idle('a probe')
    return (performance.now() - start) / 1000
  }
}

/** A dispatch of one of the shaders in `probes/`. */
export function probe(
  name: string,
  access: readonly Access[],
  bindings: readonly Slice[],
  constants: Readonly<Record<string, number>>,
  workgroups: number,
): Dispatch {
  const source = readFileSync(new URL(`probes/${name}.wgsl`, import.meta.url), 'utf8')
  return { program: { name, source, access, constants }, bindings, grid: () => [workgroups, 1, 1] }
}

/** Vectors that a workgroup of `fill.wgsl` and `stream.wgsl` takes. */
export const VECTORS_EACH = 64 * 256

/** What `fill.wgsl` writes. */
export interface FillPattern extends Readonly<Record<string, number>> {
  readonly RECORD: number
  readonly HEAD: number
  readonly FIRST: number
  readonly SECOND: number
}

export function fillProbe(words: Slice, bytes: number, pattern: FillPattern): Dispatch {
  const count = Math.floor(bytes / 16)
  return probe('fill', ['write'], [words], { COUNT: count, ...pattern }, Math.ceil(count / VECTORS_EACH))
}
