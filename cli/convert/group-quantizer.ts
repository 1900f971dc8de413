/**
 * Symmetric group quantisation as compressed-tensors' `pack-quantized` holds it: ŵ = q · scale, one bf16 scale a group of
 * columns, q in −2^(bits−1) … 2^(bits−1) − 1, stored as q + 2^(bits−1), packed low bits first into 32-bit words.
 *
 *     value k of a row   bits [(k · bits) % 32, … + bits) of word ⌊k · bits / 32⌋; what is left of the last word is 0
 *     scale of it        ⌊k / groupColumns⌋ of the row: the last group may be short
 *
 * Of a few scales it takes the one with the least squared error, the same on every machine: only f64 sums in a fixed order.
 * It knows neither tensors nor files.
 */
import { bf16Bits, bf16Value } from './bfloat16.ts'

export interface GroupFormat {
  readonly bits: 4 | 8
  /** Columns that share a scale. */
  readonly groupColumns: number
}

export interface QuantizedRows {
  readonly kind: 'quantized'
  /** u32 [rows, packedWords(columns)] */
  readonly packed: Uint32Array<ArrayBuffer>
  /** bf16 [rows, groupCount(columns)] */
  readonly scales: Uint16Array<ArrayBuffer>
  /** Σ (w − ŵ)² */
  readonly errorSquares: number
  /** Σ w² */
  readonly valueSquares: number
}

/** A NaN or infinite weight, which no scale can stand for. */
export interface NotFinite {
  readonly kind: 'not-finite'
  readonly row: number
  readonly column: number
}

export function packedWords(columnCount: number, { bits }: GroupFormat): number {
  return Math.ceil((columnCount * bits) / 32)
}

export function groupCount(columnCount: number, { groupColumns }: GroupFormat): number {
  return Math.ceil(columnCount / groupColumns)
}

/**
 * Scales tried, as the group's largest |w| over these; int4 then moves to where least squares puts the scale for the
 * values it found. Against 127 or 7 alone, on axk1-tiny's experts: int8 −3 % RMS error, int4 −11 % (group 32), −13 %
 * (group 128). Twice as many divisors gain 0.1 % more, a grid of 46 another 0.5 %.
 */
const DIVISORS = { 4: [7, 7.5, 8, 8.5, 9], 8: [127, 128] } as const
/** A scale below would be subnormal, which GPUs may read as 0. */
const SCALE_MIN = 2 ** -126
const BF16_MAX = bf16Value(0x7f7f)
/** Adding and subtracting 1.5 · 2⁵² rounds an f64 to the nearest integer, ties to even. */
const ROUNDER = 1.5 * 2 ** 52

/** Quantises `values`, f32 [rows, columnCount]. */
export function quantizeRows(
  values: Float32Array,
  columnCount: number,
  format: GroupFormat,
): QuantizedRows | NotFinite {
  const rowCount = values.length / columnCount
  const [wordCount, scaleCount] = [packedWords(columnCount, format), groupCount(columnCount, format)]
  const packed = new Uint32Array(rowCount * wordCount)
  const scales = new Uint16Array(rowCount * scaleCount)
  let errorSquares = 0
  let valueSquares = 0
  for (let row = 0; row < rowCount; row++) {
    for (let group = 0; group < scaleCount; group++) {
      const column = group * format.groupColumns
      const start = row * columnCount + column
      const end = row * columnCount + Math.min(columnCount, column + format.groupColumns)
      const squares = sumOfSquares(values, start, end)
      // f32 squares cannot overflow an f64 sum: only a NaN or an infinity can.
      if (!Number.isFinite(squares)) return firstNotFinite(values, columnCount, start)
      const scale = bestScale(values, start, end, format.bits)
      scales[row * scaleCount + group] = bf16Bits(scale)
      errorSquares += pack(values, start, end, scale, format.bits, packed, row * wordCount, column)
      valueSquares += squares
    }
  }
  return { kind: 'quantized', packed, scales, errorSquares, valueSquares }
}

function bestScale(values: Float32Array, start: number, end: number, bits: 4 | 8): number {
  const largest = largestMagnitude(values, start, end)
  if (largest === 0) return 1
  let best = SCALE_MIN
  let leastError = Infinity
  for (const divisor of DIVISORS[bits]) {
    const scale = storable(largest / divisor, bits)
    const error = squaredError(values, start, end, scale, bits)
    if (error >= leastError) continue
    best = scale
    leastError = error
  }
  if (bits === 8) return best
  const moved = storable(leastSquares(values, start, end, best, bits), bits)
  return squaredError(values, start, end, moved, bits) < leastError ? moved : best
}

/** The nearest bf16 whose multiples up to the lowest code are finite f32, and which is not subnormal. */
function storable(scale: number, bits: 4 | 8): number {
  const scaleMax = BF16_MAX / 2 ** (bits - 1)
  return bf16Value(bf16Bits(Math.min(Math.max(scale, SCALE_MIN), scaleMax)))
}

function sumOfSquares(values: Float32Array, start: number, end: number): number {
  let sum = 0
  for (let i = start; i < end; i++) {
    const value = values[i] ?? 0
    sum += value * value
  }
  return sum
}

function largestMagnitude(values: Float32Array, start: number, end: number): number {
  let largest = 0
  for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i] ?? 0))
  return largest
}

function squaredError(values: Float32Array, start: number, end: number, scale: number, bits: 4 | 8): number {
  const lowest = -(2 ** (bits - 1))
  const inverse = 1 / scale
  let sum = 0
  for (let i = start; i < end; i++) {
    const value = values[i] ?? 0
    const difference = value - nearestCode(value * inverse, lowest) * scale
    sum += difference * difference
  }
  return sum
}

/** The scale with the least squared error for the codes that `scale` gives: Σ w·q / Σ q². */
function leastSquares(values: Float32Array, start: number, end: number, scale: number, bits: 4 | 8): number {
  const lowest = -(2 ** (bits - 1))
  const inverse = 1 / scale
  let products = 0
  let squares = 0
  for (let i = start; i < end; i++) {
    const value = values[i] ?? 0
    const code = nearestCode(value * inverse, lowest)
    products += value * code
    squares += code * code
  }
  return squares === 0 ? scale : products / squares
}

/** Puts values [start, end), which begin at `column` of their row, into the row's words. Returns their Σ (w − ŵ)². */
function pack(
  values: Float32Array,
  start: number,
  end: number,
  scale: number,
  bits: 4 | 8,
  packed: Uint32Array,
  firstWord: number,
  column: number,
): number {
  const lowest = -(2 ** (bits - 1))
  const inverse = 1 / scale
  let sum = 0
  for (let i = start; i < end; i++) {
    const value = values[i] ?? 0
    const code = nearestCode(value * inverse, lowest)
    const bit = (column + i - start) * bits
    const word = firstWord + (bit >>> 5)
    packed[word] = (packed[word] ?? 0) | ((code - lowest) << (bit & 31))
    const difference = value - code * scale
    sum += difference * difference
  }
  return sum
}

function nearestCode(value: number, lowest: number): number {
  const code = value + ROUNDER - ROUNDER
  // Math.min and Math.max are slower: they mind NaN and −0.
  return code < lowest ? lowest : code > -lowest - 1 ? -lowest - 1 : code
}

function firstNotFinite(values: Float32Array, columnCount: number, from: number): NotFinite {
  const index = from + values.subarray(from).findIndex((value) => !Number.isFinite(value))
  return { kind: 'not-finite', row: Math.floor(index / columnCount), column: index % columnCount }
}
