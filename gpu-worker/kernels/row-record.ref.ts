/**
 * What a row record means, value by value, in f64 rounded to f32 once: the truth for every shader that reads weights.
 */
import { isPlain, rowLayout, type PlainFormat, type QuantizedFormat, type WeightFormat } from './matrix.ts'

/** f32 [rows, columnCount] of records that lie one after the other. */
export function decodeRows(records: Uint8Array, columnCount: number, format: WeightFormat): Float32Array<ArrayBuffer> {
  const { bytes } = rowLayout(columnCount, format)
  const rowCount = records.byteLength / bytes
  const values = new Float32Array(rowCount * columnCount)
  for (let row = 0; row < rowCount; row++) {
    const view = new DataView(records.buffer, records.byteOffset + row * bytes, bytes)
    const valueAt = isPlain(format) ? plainValues(view, format) : quantizedValues(view, columnCount, format)
    for (let k = 0; k < columnCount; k++) values[row * columnCount + k] = valueAt(k)
  }
  return values
}

function plainValues(view: DataView, format: PlainFormat): (k: number) => number {
  return (k) => storedNumber(view, 0, k, format)
}

function quantizedValues(view: DataView, columnCount: number, format: QuantizedFormat): (k: number) => number {
  const { scaleStart, zeroStart } = rowLayout(columnCount, format)
  return (k) => {
    const group = Math.floor(k / format.groupColumns)
    const scale = storedNumber(view, scaleStart, group, format.scale)
    if (format.kind === 'fp8') return e4m3Value(view.getUint8(k)) * scale
    const zero = format.hasZeroPoints ? view.getUint8(zeroStart + group) : format.kind === 'int4' ? 8 : 128
    return (integerAt(view, k, format.kind) - zero) * scale
  }
}

function integerAt(view: DataView, k: number, kind: 'int4' | 'int8'): number {
  if (kind === 'int8') return view.getUint8(k)
  const byte = view.getUint8(Math.floor(k / 2))
  return k % 2 === 0 ? byte & 15 : byte >> 4
}

/** Number `index` of those stored from byte `start` on. */
function storedNumber(view: DataView, start: number, index: number, format: PlainFormat): number {
  if (format === 'f32') return view.getFloat32(start + 4 * index, true)
  const half = view.getUint16(start + 2 * index, true)
  return format === 'f16' ? smallFloat(half, 5, 10) : smallFloat(half, 8, 7)
}

/** fp8 e4m3fn: like any small float, but all ones is NaN and nothing is infinite. */
export function e4m3Value(byte: number): number {
  return (byte & 0x7f) === 0x7f ? NaN : smallFloat(byte, 4, 3, false)
}

/** IEEE: sign, exponent, fraction; the bias is half the exponents. */
function smallFloat(code: number, exponentBits: number, fractionBits: number, hasSpecials = true): number {
  const sign = (code >> (exponentBits + fractionBits)) & 1 ? -1 : 1
  const exponent = (code >> fractionBits) & (2 ** exponentBits - 1)
  const fraction = (code & (2 ** fractionBits - 1)) / 2 ** fractionBits
  const bias = 2 ** (exponentBits - 1) - 1
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias)
  if (hasSpecials && exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction) * 2 ** (exponent - bias)
}
