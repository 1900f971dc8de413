/**
 * A list of dispatches made executable: pipelines and bind groups built once, encoded for any row counts.
 *
 * Knows no model: which rows a dispatch counts is a name its layer gave.
 */
import type { Gpu } from './device.ts'
import { GpuError } from './gpu-error.ts'
import type { Dispatch, Grid } from './program.ts'
import type { Pipelines } from './pipelines.ts'

/** A dispatch and the set of rows that its grid covers. */
export interface Segment<RowSet extends string> {
  readonly dispatch: Dispatch
  readonly rows: RowSet
}

interface Built<RowSet extends string> extends Segment<RowSet> {
  readonly pipeline: GPUComputePipeline
  readonly bindGroup: GPUBindGroup
}

export class Recipe<RowSet extends string> {
  readonly #segments: readonly Built<RowSet>[]
  readonly #workgroupsMax: number

  constructor(gpu: Gpu, segments: readonly Built<RowSet>[]) {
    this.#segments = segments
    this.#workgroupsMax = gpu.limits.maxComputeWorkgroupsPerDimension
  }

  /** Encodes the dispatches in order; returns how many took part. */
  encode(pass: GPUComputePassEncoder, rowCounts: Readonly<Record<RowSet, number>>): number {
    let count = 0
    for (const segment of this.#segments) {
      const rows = rowCounts[segment.rows]
      const grid = rows === 0 ? null : segment.dispatch.grid(rows)
      if (grid === null) continue
      this.#check(segment.dispatch.program.name, grid)
      pass.setPipeline(segment.pipeline)
      pass.setBindGroup(0, segment.bindGroup)
      pass.dispatchWorkgroups(...grid)
      count += 1
    }
    return count
  }

  /** Beyond the limit a dispatch would compute nothing at all. */
  #check(name: string, grid: Grid): void {
    if (grid.some((workgroups) => workgroups < 1 || workgroups > this.#workgroupsMax)) {
      throw new GpuError('limit', `Cannot dispatch ${name}: grid ${grid.join('×')}, limit ${this.#workgroupsMax} a side`)
    }
  }
}

export async function buildRecipe<RowSet extends string>(
  gpu: Gpu,
  pipelines: Pipelines,
  segments: readonly Segment<RowSet>[],
): Promise<Recipe<RowSet>> {
  const built = await Promise.all(
    segments.map(async (segment) => {
      const { pipeline, layout } = await pipelines.get(segment.dispatch.program)
      const entries = segment.dispatch.bindings.map(({ buffer, offset, bytes }, binding) => {
        const limit = gpu.limits.maxStorageBufferBindingSize
        if (bytes > limit) throw new GpuError('limit', `Cannot bind ${buffer.label}: ${bytes} bytes, limit ${limit}`)
        return { binding, resource: { buffer, offset, size: bytes } }
      })
      const label = segment.dispatch.program.name
      return { ...segment, pipeline, bindGroup: gpu.device.createBindGroup({ label, layout, entries }) }
    }),
  )
  gpu.check()
  return new Recipe(gpu, built)
}
