/**
 * How products of one activation row are shared out among workgroups, a lane for each chunk of columns.
 *
 * Knows no kernel.
 */
import type { Dispatch } from '../gpu/program.ts'
import { isPlain, type WeightFormat } from './matrix.ts'
import { CHUNK_COLUMNS, decodeInclude, groupColumns, weightIncludes } from './weight-shader.ts'
import type { Include, VectorCount } from './wgsl.ts'

export interface ChunkShader {
  /** Those that define `add_chunks`, first. */
  readonly includes: readonly Include[]
  /** Weight rows of a workgroup. */
  readonly tileRows: number
  readonly constants: { readonly WARPS: number; readonly TILE_ROWS: number }
}

const WARP_LANES = 32
/** 256 lanes: what every adapter has. */
const WARPS_MAX = 8
/** Warps that keep a large GPU's memory busy, as measured on an H100: fewer rows are shared by more warps each. */
const WARPS_WANTED = 1_800
/** Below so many rows tiles of 8 leave no processor without work; from so many on tiles of 32 load activations less often. */
const TILES_OF_16_FROM = 4_224
const TILES_OF_32_FROM = 76_800

/**
 * A dispatch for each way to a format's chunks: fp8 has one for adapters that keep denormals of f16 and one for the others.
 * `rowCount`: weight rows that a step reads, of all matrices in the dispatch.
 */
export function perChunkShader(
  columnCount: number,
  rowCount: number,
  format: WeightFormat,
  dispatch: (shader: ChunkShader) => Dispatch,
): Dispatch[] {
  const { warps, tileRows } = chunkShape(columnCount, rowCount, format)
  const shape = { tileRows, constants: { WARPS: warps, TILE_ROWS: tileRows } }
  const by = (...chunks: Include[]): Dispatch =>
    dispatch({ includes: [...weightIncludes(columnCount, format), ...chunks, 'chunk-lanes'], ...shape })
  if (!hasWholeChunks(columnCount, format)) return [by('any-chunks')]
  if (isPlain(format)) return [by('decode-plain', 'whole-chunks', `vectors-${format === 'f32' ? 8 : 4}`)]
  const vectors: VectorCount = format.kind === 'int4' ? 1 : 2
  const decoded = (decode: Include): Dispatch => by(decode, 'decode-groups', 'whole-chunks', `vectors-${vectors}`)
  if (format.kind !== 'fp8') return [decoded(decodeInclude(format))]
  return [
    { ...decoded('decode-fp8-halves'), halfDenormals: true },
    { ...decoded('decode-fp8'), halfDenormals: false },
  ]
}

/** Whether the row is chunks of full length, and each lies within one group. */
function hasWholeChunks(columnCount: number, format: WeightFormat): boolean {
  if (columnCount % CHUNK_COLUMNS !== 0) return false
  return isPlain(format) || groupColumns(columnCount, format.groupColumns) % CHUNK_COLUMNS === 0
}

/** Warps that share a row's chunks, and the rows they go down. */
function chunkShape(
  columnCount: number,
  rowCount: number,
  format: WeightFormat,
): { readonly warps: number; readonly tileRows: number } {
  const isShort = !isPlain(format) && format.kind === 'int4'
  const tileRows = rowCount < TILES_OF_16_FROM ? 8 : isShort && rowCount >= TILES_OF_32_FROM ? 32 : 16
  const warpsOfRow = Math.ceil(columnCount / CHUNK_COLUMNS / WARP_LANES)
  // Longer rows are read faster by several warps, however many rows there are.
  const wanted = Math.max(isShort ? 1 : 4, Math.ceil((WARPS_WANTED * tileRows) / rowCount))
  // As few as take the same number of passes.
  const passes = Math.ceil(warpsOfRow / Math.min(wanted, WARPS_MAX))
  return { warps: Math.ceil(warpsOfRow / passes), tileRows }
}
