/**
 * value-up by whole workgroups, every chunk of columns a lane of its own: on GPUs.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { AttentionShape } from './attention-shape.ts'
import type { TileColumns } from './matmul-tile.ts'
import { valueUpWindows, type ValueUpOperands } from './value-up-operands.ts'
import { perShader, tileShaders } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

/** One dispatch per window, for steps of `rowsFrom` … `rowsTo` rows. */
export function valueUpTile(
  operands: ValueUpOperands,
  shape: AttentionShape,
  rowsMax: number,
  { columns, rowsFrom, rowsTo }: TileColumns,
): Dispatch[] {
  return valueUpWindows(operands, shape, rowsMax).flatMap(({ format, headCount, constants, access, bindings }) =>
    perShader(tileShaders(shape.latent, format, columns), ({ includes, tileRows, chunkLanes }) => ({
      program: {
        name: 'value-up-tile',
        source: wgsl('value-up-tile', ...includes),
        access,
        constants: { ...constants, ROWS_MAX: rowsMax, CHUNK_LANES: chunkLanes },
      },
      bindings,
      grid: (rows) =>
        rows < rowsFrom || rows > rowsTo
          ? null
          : [headCount * Math.ceil(shape.value / tileRows), Math.ceil(rows / columns), 1],
    })),
  )
}
