/**
 * A shader and its use as data: what to compile, what to bind, how large a grid.
 *
 * Creates nothing on the device; `recipe.ts` does. Kernels return these, layers put them in order.
 */
import type { Slice } from './buffers.ts'

/** How a shader touches a binding; weights are always 'read', so that Dawn needs no barrier between their users. */
export type Access = 'read' | 'write'

export interface Program {
  readonly name: string
  /** Complete WGSL text; the entry point is `main`. */
  readonly source: string
  /** Storage bindings of group 0, in order; the shader's `Params`, if any, is the binding after them. */
  readonly access: readonly Access[]
  /**
   * By name, values of the shader's `override`s — with the source, the pipeline's key — and of its `Params` fields,
   * which cost no pipeline of their own. The shader's declarations decide which is which; both must match exactly.
   */
  readonly constants: Readonly<Record<string, number>>
}

/** What an adapter computes on. Some programs exist twice, with the same bits: each kind has its own shape of work. */
export type Processor = 'cpu' | 'gpu'

/** How matrix products are summed up: in the order of the contract, or as matrix units do it, with other bits. */
export type Products = 'ordered' | 'matrix'

/** Whether an adapter's workgroups may have `WIDE_LANES` lanes; every adapter's may have half as many. */
export type WorkgroupWidth = 'wide' | 'narrow'

export const WIDE_LANES = 512

/** Workgroups in x, y, z. */
export type Grid = readonly [number, number, number]

export interface Dispatch {
  readonly program: Program
  readonly bindings: readonly Slice[]
  /** The kind of adapter that this is for; absent: any. */
  readonly processor?: Processor
  /** Whether this is for adapters whose lanes can swap values in subgroups or for the others; absent: for both. */
  readonly subgroups?: boolean
  /** The workgroups that this is for; absent: for any. */
  readonly width?: WorkgroupWidth
  /** Whether this is for adapters that keep denormals in conversions from f16 or for the others; absent: for both. */
  readonly halfDenormals?: boolean
  /** The products that this is of; absent: it has none, or the same in both. */
  readonly products?: Products
  /** The grid for a step of `rows` rows; null when this dispatch has no part in such a step. */
  grid(rows: number): Grid | null
}

/** The dispatches, for one kind of adapter alone. */
export function onlyOn(processor: Processor, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({ ...dispatch, processor }))
}

/** The dispatches, for adapters with subgroups alone or for those without. */
export function withSubgroups(subgroups: boolean, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({ ...dispatch, subgroups }))
}

/** The dispatches, for adapters with such workgroups alone. */
export function byWidth(width: WorkgroupWidth, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({ ...dispatch, width }))
}

/** The dispatches, for one way of summing up products alone. */
export function onlyBy(products: Products, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({ ...dispatch, products }))
}

/** The dispatches, for steps of fewer than `rowsBelow` rows. */
export function inStepsBelow(rowsBelow: number, dispatches: readonly Dispatch[]): Dispatch[] {
  return dispatches.map((dispatch) => ({
    ...dispatch,
    grid: (rows) => (rows < rowsBelow ? dispatch.grid(rows) : null),
  }))
}

/** A binding that must hold at least `bytes`; a smaller one would be clamped in silence by the shader. */
export function holding(slice: Slice, bytes: number, name: string): Slice {
  if (slice.bytes < bytes) throw new RangeError(`Binding ${name} is too small: need ${bytes} bytes, got ${slice.bytes}`)
  return slice
}
