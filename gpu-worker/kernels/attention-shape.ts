/**
 * The sizes of multi-head latent attention, and how kv_b_proj's windows map to heads.
 */
import type { LatentShape } from './latent-pages.ts'
import type { Matrix, MatrixWindow } from './matrix.ts'

export interface AttentionShape extends LatentShape {
  readonly headCount: number
  /** Width of a query's part without position. */
  readonly nope: number
  /** Width of a head's value. */
  readonly value: number
}

/** Heads [headStart, headStart + headCount): windows of kv_b_proj hold whole heads. */
export interface HeadWindow {
  readonly window: MatrixWindow
  readonly headStart: number
  readonly headCount: number
}

/** Rows of kv_b_proj per head: its keys' rows, then its values' rows. */
export function rowsPerHead(shape: AttentionShape): number {
  return shape.nope + shape.value
}

export function headWindows(kvB: Matrix, shape: AttentionShape): HeadWindow[] {
  const rows = rowsPerHead(shape)
  if (kvB.columnCount !== shape.latent || kvB.rowCount !== rows * shape.headCount) {
    throw new RangeError(
      `Shapes do not fit: kv_b ${kvB.rowCount}×${kvB.columnCount}, heads ${shape.headCount} of ${rows}`,
    )
  }
  return kvB.windows.map((window) => {
    if (window.rowStart % rows !== 0 || window.rowCount % rows !== 0) {
      throw new RangeError(
        `A window of kv_b must hold whole heads of ${rows} rows, got ${window.rowStart}+${window.rowCount}`,
      )
    }
    return { window, headStart: window.rowStart / rows, headCount: window.rowCount / rows }
  })
}
