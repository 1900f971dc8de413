/**
 * How a checkpoint's modules are quantised, by the word of its `quantization_config`.
 *
 * It knows module names, no tensors: `layout.ts` holds its word against what lies on disk.
 */

/** How one module's weight [rows, columns] is quantised. */
export type QuantizationScheme =
  | {
      readonly kind: 'int4' | 'int8'
      /** Columns that share a scale; the last group may be short. 'row': one scale a row; 'tensor': one in all. */
      readonly scaleSpan: number | 'row' | 'tensor'
      readonly hasZeroPoints: boolean
    }
  | { readonly kind: 'fp8'; readonly blockRows: number; readonly blockColumns: number }

export interface Quantization {
  readonly method: 'compressed-tensors' | 'fp8'
  /** By a module's full name, `model.layers.3.mlp.experts.7.up_proj`; null: stored plain. */
  schemeOf(module: string): QuantizationScheme | null
  /** What the config asks for that does not concern weights, in sentences. */
  readonly warnings: readonly string[]
}
