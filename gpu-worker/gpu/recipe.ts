/**
 * A list of dispatches made executable: pipelines, parameters and bind groups built once, encoded for any row counts.
 *
 * Dispatches for another kind of adapter take no part. Knows no model: which rows a dispatch counts is a name that its
 * layer gave. A recipe is one pass; where a step must stop in between, it is cut into parts.
 */
import type { Buffers, Slice } from './buffers.ts'
import { sortConstants } from './constants.ts'
import type { Gpu } from './device.ts'
import { GpuError } from './gpu-error.ts'
import type { Pipelines } from './pipelines.ts'
import type { Dispatch, Grid, Products } from './program.ts'

/** A dispatch and the set of rows that its grid covers. */
export interface RowDispatch<RowSet extends string> {
  readonly dispatch: Dispatch
  readonly rows: RowSet
}

interface Built<RowSet extends string> extends RowDispatch<RowSet> {
  readonly pipeline: GPUComputePipeline
  readonly bindGroup: GPUBindGroup
}

/** The dispatches of one step alone: their grids are those of these row counts. */
export function ofStep<RowSet extends string>(
  dispatches: readonly RowDispatch<RowSet>[],
  rowCounts: Readonly<Record<RowSet, number>>,
): Dispatch[] {
  const inStep = dispatches.filter(({ rows }) => rowCounts[rows] > 0)
  return inStep.map(({ dispatch, rows }) => Object.assign({}, dispatch, { grid: () => dispatch.grid(rowCounts[rows]) }))
}

export class Recipe<RowSet extends string> {
  readonly #gpu: Gpu
  readonly #dispatches: readonly Built<RowSet>[]
  readonly #workgroupsMax: number

  constructor(gpu: Gpu, dispatches: readonly Built<RowSet>[]) {
    this.#gpu = gpu
    this.#dispatches = dispatches
    this.#workgroupsMax = gpu.limits.maxComputeWorkgroupsPerDimension
  }

  /** Encodes the dispatches in order; returns the programs' names of those that took part. */
  encode(pass: GPUComputePassEncoder, rowCounts: Readonly<Record<RowSet, number>>): string[] {
    const names: string[] = []
    for (const built of this.#dispatches) {
      const rows = rowCounts[built.rows]
      const grid = rows === 0 ? null : built.dispatch.grid(rows)
      if (grid === null) continue
      this.#check(built.dispatch.program.name, grid)
      pass.setPipeline(built.pipeline)
      pass.setBindGroup(0, built.bindGroup)
      pass.dispatchWorkgroups(...grid)
      names.push(built.dispatch.program.name)
    }
    return names
  }

  /** The same in consecutive parts: neighbours of one key together. */
  partsBy<Key>(keyOf: (dispatch: Dispatch) => Key): { readonly key: Key; readonly recipe: Recipe<RowSet> }[] {
    const runs: { readonly key: Key; readonly dispatches: Built<RowSet>[] }[] = []
    for (const built of this.#dispatches) {
      const key = keyOf(built.dispatch)
      const last = runs.at(-1)
      if (last === undefined || last.key !== key) runs.push({ key, dispatches: [built] })
      else last.dispatches.push(built)
    }
    return runs.map(({ key, dispatches }) => ({ key, recipe: new Recipe(this.#gpu, dispatches) }))
  }

  /** Beyond the limit a dispatch would compute nothing at all. */
  #check(name: string, grid: Grid): void {
    if (grid.some((workgroups) => workgroups < 1 || workgroups > this.#workgroupsMax)) {
      throw new GpuError(
        'limit',
        `Cannot dispatch ${name}: grid ${grid.join('×')}, limit ${this.#workgroupsMax} a side`,
      )
    }
  }
}

/** The parameters' memory belongs to `buffers`. Throws GpuError. */
export async function buildRecipe<RowSet extends string>(
  gpu: Gpu,
  pipelines: Pipelines,
  buffers: Buffers,
  dispatches: readonly RowDispatch<RowSet>[],
  products: Products = 'ordered',
): Promise<Recipe<RowSet>> {
  const sorted = dispatches.map(({ dispatch }) => sortConstants(dispatch.program))
  const params = writeParams(
    gpu,
    buffers,
    sorted.map((constants) => constants.params),
  )
  const mine = dispatches.flatMap((entry, i) => {
    return isFor(gpu, products, entry.dispatch) ? [{ entry, i }] : []
  })
  const built = await Promise.all(
    mine.map(async ({ entry, i }) => {
      const { name, source, access } = entry.dispatch.program
      const own = params[i] ?? null
      const overrides = sorted[i]?.overrides ?? {}
      const { pipeline, layout } = await pipelines.get(name, { source, access, hasParams: own !== null, overrides })
      const slices = own === null ? entry.dispatch.bindings : [...entry.dispatch.bindings, own]
      const entries = slices.map((slice, binding) => ({ binding, resource: checked(gpu, slice) }))
      const bindGroup = gpu.device.createBindGroup({ label: name, layout, entries })
      return { dispatch: entry.dispatch, rows: entry.rows, pipeline, bindGroup }
    }),
  )
  gpu.check()
  return new Recipe(gpu, built)
}

/** Whether a dispatch is for such an adapter and such products. */
function isFor(gpu: Gpu, products: Products, dispatch: Dispatch): boolean {
  const { processor = gpu.processor, subgroups = gpu.hasSubgroups } = dispatch
  const { width = gpu.workgroupWidth, halfDenormals = gpu.keepsHalfDenormals } = dispatch
  return (
    processor === gpu.processor &&
    subgroups === gpu.hasSubgroups &&
    width === gpu.workgroupWidth &&
    halfDenormals === gpu.keepsHalfDenormals &&
    (dispatch.products ?? products) === products
  )
}

/** What the parameters of such a recipe take: each block begins where it may be bound; equal ones are one. */
export function parameterBytes(dispatches: readonly RowDispatch<string>[], alignmentBytes: number): number {
  const blocks = dispatches.map(({ dispatch }) => sortConstants(dispatch.program).params)
  return placed(blocks, alignmentBytes).end
}

function placed(
  blocks: readonly (Uint8Array<ArrayBuffer> | null)[],
  alignmentBytes: number,
): { readonly offsets: readonly number[]; readonly end: number } {
  const offsets: number[] = []
  const known = new Map<string, number>()
  let end = 0
  for (const block of blocks) {
    const text = block === null ? '' : block.join()
    const offset = known.get(text) ?? end
    known.set(text, offset)
    offsets.push(offset)
    if (offset === end) end += Math.ceil((block?.byteLength ?? 0) / alignmentBytes) * alignmentBytes
  }
  return { offsets, end }
}

/** All parameter blocks in one uniform buffer. */
function writeParams(
  gpu: Gpu,
  buffers: Buffers,
  blocks: readonly (Uint8Array<ArrayBuffer> | null)[],
): (Slice | null)[] {
  const { offsets, end } = placed(blocks, gpu.limits.minUniformBufferOffsetAlignment)
  if (end === 0) return blocks.map(() => null)
  const buffer = buffers.create('params', end, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST, true)
  const mapped = new Uint8Array(buffer.getMappedRange())
  const slices = blocks.map((block, i) => {
    if (block === null) return null
    const offset = offsets[i] ?? 0
    mapped.set(block, offset)
    return { buffer, offset, bytes: block.byteLength }
  })
  buffer.unmap()
  return slices
}

function checked(gpu: Gpu, { buffer, offset, bytes }: Slice): GPUBufferBinding {
  const limit = gpu.limits.maxStorageBufferBindingSize
  if (bytes > limit) throw new GpuError('limit', `Cannot bind ${buffer.label}: ${bytes} bytes, limit ${limit}`)
  return { buffer, offset, size: bytes }
}
