/**
 * A RowSource without a file: a compute shader writes row records of hashed weights where they are wanted.
 *
 * One small submit a call and no answer awaited but every few hundred calls, so that it fills a whole GPU as fast as that
 * can write; norms are small and computed here. Refuses zero points: A.X K1 has none.
 */
import { strict as assert } from 'node:assert'
import { readFileSync } from 'node:fs'
import { Buffers, type Slice } from '../../gpu-worker/gpu/buffers.ts'
import { sortConstants } from '../../gpu-worker/gpu/constants.ts'
import type { Gpu } from '../../gpu-worker/gpu/device.ts'
import { Pipelines, type Pipeline } from '../../gpu-worker/gpu/pipelines.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { bytesPerValue, isPlain, rowLayout, VECTOR_BYTES } from '../../gpu-worker/kernels/matrix.ts'
import type { RowSource, RowTarget, StoredWeight } from '../../gpu-worker/model/row-source.ts'
import { exponentFor, floatPattern, packedPattern, seedOf, type WordPattern } from './counter-hash.ts'
import { HashedWeights } from './hashed-weights.ts'
import { weightRule } from './weight-rule.ts'

const SOURCE = readFileSync(new URL('fill-rows.wgsl', import.meta.url), 'utf8')
const NAME = 'fill-rows'
const LANES = 64
/** Enough to keep a GPU busy, few enough that the driver holds no long list of work. */
const SUBMITS_AHEAD = 256
const PARAMS_BYTES = 64

export class HashedRows implements RowSource {
  readonly #gpu: Gpu
  readonly #buffers: Buffers
  readonly #params: GPUBuffer
  readonly #pipeline: Promise<Pipeline>
  readonly #groups = new Map<GPUBuffer, GPUBindGroup>()
  #way: { readonly slice: Slice; readonly readback: Readback } | null = null
  #submits = 0
  /** Written so far. */
  bytes = 0

  constructor(gpu: Gpu) {
    this.#gpu = gpu
    this.#buffers = new Buffers(gpu, NAME)
    // Rewritten before every dispatch: the queue keeps their order.
    this.#params = this.#buffers.create('params', PARAMS_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST)
    const key = { source: SOURCE, access: ['write' as const], hasParams: true, overrides: {} }
    this.#pipeline = new Pipelines(gpu).get(NAME, key)
    // Seen by the first call.
    this.#pipeline.catch(() => {})
  }

  async rows(
    weight: StoredWeight,
    rowStart: number,
    rowCount: number,
    target: RowTarget,
    offset: number,
  ): Promise<void> {
    if (!(target instanceof Uint8Array)) {
      await this.#fill(weight, rowStart, rowCount, target, offset)
      return
    }
    const bytes = rowCount * rowLayout(weight.columnCount, weight.format).bytes
    const { slice, readback } = this.#wayBack(bytes)
    await this.#fill(weight, rowStart, rowCount, slice, 0)
    const encoder = this.#gpu.device.createCommandEncoder({ label: NAME })
    readback.copy(encoder, slice, bytes)
    this.#gpu.device.queue.submit([encoder.finish()])
    target.set(await readback.read(bytes, 'filling weights'), offset)
  }

  /** For rows that belong on the host: computed like the others, then read. */
  #wayBack(bytes: number): { readonly slice: Slice; readonly readback: Readback } {
    if (this.#way === null || this.#way.slice.bytes < bytes) {
      const slice = this.#buffers.storage('rows', bytes)
      this.#way = { slice, readback: new Readback(this.#gpu, this.#buffers, slice.bytes) }
    }
    return this.#way
  }

  async #fill(weight: StoredWeight, rowStart: number, rowCount: number, target: Slice, offset: number): Promise<void> {
    const { pipeline, layout } = await this.#pipeline
    const { device, limits } = this.#gpu
    const rowBytes = rowLayout(weight.columnCount, weight.format).bytes
    const rowsAtOnce = limits.maxComputeWorkgroupsPerDimension
    for (let done = 0; done < rowCount; done += rowsAtOnce) {
      const constants = constantsOf(weight, rowStart + done, offset + done * rowBytes)
      const { params } = sortConstants({ name: NAME, source: SOURCE, access: ['write'], constants })
      assert(params !== null && params.byteLength <= PARAMS_BYTES)
      device.queue.writeBuffer(this.#params, 0, params)
      const encoder = device.createCommandEncoder({ label: NAME })
      const pass = encoder.beginComputePass({ label: NAME })
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, this.#group(layout, target))
      const vectors = rowBytes / VECTOR_BYTES
      pass.dispatchWorkgroups(Math.ceil(vectors / LANES), Math.min(rowsAtOnce, rowCount - done))
      pass.end()
      device.queue.submit([encoder.finish()])
      this.#submits += 1
      if (this.#submits % SUBMITS_AHEAD === 0) await this.#gpu.idle('filling weights')
    }
    this.bytes += rowCount * rowBytes
  }

  vector(tensor: string, width: number): Promise<Float32Array> {
    const values = new Float64Array(width)
    new HashedWeights(() => ({ kind: 'bf16' })).row(tensor.replace(/\.weight$/, ''), 0, values)
    return Promise.resolve(Float32Array.from(values))
  }

  async close(): Promise<void> {
    try {
      await this.#gpu.idle('filling weights')
    } finally {
      this.#buffers.close()
    }
  }

  #group(layout: GPUBindGroupLayout, { buffer, offset, bytes }: Slice): GPUBindGroup {
    assert(offset === 0, 'A slice of weights starts its buffer')
    let group = this.#groups.get(buffer)
    if (group === undefined) {
      const entries = [
        { binding: 0, resource: { buffer, size: bytes } },
        { binding: 1, resource: { buffer: this.#params } },
      ]
      group = this.#gpu.device.createBindGroup({ label: NAME, layout, entries })
      this.#groups.set(buffer, group)
    }
    return group
  }
}

function constantsOf(weight: StoredWeight, rowStart: number, offset: number): Record<string, number> {
  const { values, scales, columnCount, format, rowsPerScale } = weight
  const { valueBytes, groupCount, scaleStart, bytes } = rowLayout(columnCount, format)
  const patterns = patternsOf(weight)
  assert(offset % VECTOR_BYTES === 0 && (isPlain(format) || !format.hasZeroPoints), `Cannot fill ${weight.name}`)
  return {
    ROW_START: rowStart,
    ROW_VECTORS: bytes / VECTOR_BYTES,
    ROWS_PER_SCALE: rowsPerScale,
    TARGET: offset / VECTOR_BYTES,
    VALUE_SEED: seedOf(values),
    VALUE_MASK: patterns.values.mask,
    VALUE_BITS: patterns.values.bits,
    VALUE_BYTES: valueBytes,
    SCALE_SEED: scales === null ? 0 : seedOf(scales),
    SCALE_MASK: patterns.scales.mask,
    SCALE_BITS: patterns.scales.bits,
    SCALE_BYTES: isPlain(format) ? 0 : groupCount * bytesPerValue(format.scale),
    SCALE_VECTOR: scaleStart / VECTOR_BYTES,
  }
}

function patternsOf({ values, columnCount, format }: StoredWeight): { values: WordPattern; scales: WordPattern } {
  const { gain, isSigned, isNorm } = weightRule(values.replace(/\.weight(_packed)?$/, ''))
  if (isPlain(format)) {
    const exponent = isNorm ? -1 : exponentFor(gain, columnCount, null)
    return { values: floatPattern(format, exponent, isSigned), scales: { mask: 0, bits: 0 } }
  }
  const exponent = exponentFor(gain, columnCount, format.kind)
  return { values: packedPattern(format.kind), scales: floatPattern(format.scale, exponent, false) }
}
