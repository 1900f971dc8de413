/**
 * Where a weight matrix comes from: which tensors store it and how, and who brings its rows.
 *
 * Knows no file and no shader: `checkpoint-rows.ts` reads a checkpoint, a bench computes rows from a hash.
 */
import type { Slice } from '../gpu/buffers.ts'
import type { WeightFormat } from '../kernels/matrix.ts'

/** How one weight matrix [rowCount, columnCount] is stored: its tensors and their format. */
export interface StoredWeight {
  /** For messages: `model.layers.0.self_attn.o_proj`, `model.layers.3.mlp.experts.7.up_proj`. */
  readonly name: string
  /** `….weight`, `….weight_packed`, or fused `…mlp.experts.gate_up_proj`; leading axes are counted through as rows. */
  readonly values: string
  /** `….weight_scale`, `….weight_scale_inv`; null for plain formats. */
  readonly scales: string | null
  /** `….weight_zero_point`; compressed-tensors packs these along rows: i32 [⌈rows / (32 / bits)⌉, groups]. */
  readonly zeroPoints: string | null
  readonly rowCount: number
  readonly columnCount: number
  readonly format: WeightFormat
  /** Rows that share a scale: 1, or the height of fp8's blocks, whose scales are repeated for each row. */
  readonly rowsPerScale: number
}

/** Where rows are brought: memory of the GPU, or of the host. */
export type RowTarget = Slice | Uint8Array<ArrayBuffer>

/** Brings rows as the row records of `kernels/matrix.ts`. */
export interface RowSource {
  /**
   * Rows [rowStart, rowStart + rowCount) of `weight`, one record after the other, from `offset` bytes into `target`.
   * Resolves when the source has taken them in hand: they are there after `close`. Host memory is written only.
   */
  rows(weight: StoredWeight, rowStart: number, rowCount: number, target: RowTarget, offset: number): Promise<void>
  /** All `width` values of a small plain tensor, widened to f32: a norm's weight, the router's bias. */
  vector(tensor: string, width: number): Promise<Float32Array>
  /** Waits until all rows are where they belong, then frees what the source itself holds. To be called on failure, too. */
  close(): Promise<void>
}
