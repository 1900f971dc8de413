/** Row records: where their parts lie, what each code means, and that shaders and the reference agree on all codes. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { embed } from '../../gpu-worker/kernels/embed.ts'
import {
  formatName,
  rowLayout,
  rowVectors,
  sameFormat,
  type QuantizedFormat,
  type WeightFormat,
} from '../../gpu-worker/kernels/matrix.ts'
import { decodeRows, e4m3Value } from '../../gpu-worker/kernels/row-record.ref.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits } from '../fixtures/numbers.ts'
import type { StoredRows } from '../fixtures/stored-rows.ts'

const int4 = { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false } as const
const int8 = { kind: 'int8', groupColumns: 3, scale: 'f16', hasZeroPoints: true } as const
const fp8 = { kind: 'fp8', groupColumns: 128, scale: 'f32', hasZeroPoints: false } as const

describe('the layout of a row', () => {
  const layouts: readonly [
    columns: number,
    WeightFormat,
    values: number,
    scales: number,
    zeros: number,
    all: number,
  ][] = [
    [1, 'f32', 4, 32, 32, 32],
    [9, 'bf16', 18, 32, 32, 32],
    [1, int4, 4, 16, 32, 32],
    [33, int4, 20, 32, 48, 48],
    [7168, int4, 3584, 3584, 3584 + 448, 3584 + 448],
    [7, int8, 8, 16, 32, 48],
    [7168, { ...int8, groupColumns: 7168 }, 7168, 7168, 7184, 7200],
    [129, fp8, 129, 144, 160, 160],
  ]

  it.each(layouts)('%i columns of %o', (columnCount, format, valueBytes, scaleStart, zeroStart, bytes) => {
    expect(rowLayout(columnCount, format)).toMatchObject({ valueBytes, scaleStart, zeroStart, bytes })
    expect(rowVectors(columnCount, format) * 16).toBe(bytes)
  })

  it.each([
    { ...int4, groupColumns: 0 },
    { ...int4, groupColumns: 1.5 },
    { ...fp8, hasZeroPoints: true },
  ])('refuses %o', (format) => {
    expect(() => rowLayout(8, format)).toThrow(/No such format/)
  })

  it('formats are the same when every part is, and say which they are', () => {
    expect(sameFormat(int4, { ...int4 })).toBe(true)
    const others: WeightFormat[] = ['bf16', int8, { ...int4, groupColumns: 64 }, { ...int4, scale: 'f16' }]
    expect(others.some((other) => sameFormat(int4, other))).toBe(false)
    expect([formatName('f16'), formatName(int4), formatName(int8)]).toEqual([
      'f16',
      'int4 g32 bf16',
      'int8 g3 f16 zero points',
    ])
  })
})

/** Parts of at most one vec4 each, one after the other. */
function record(...parts: readonly (readonly number[])[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16 * parts.length)
  parts.forEach((part, i) => bytes.set(part, 16 * i))
  return bytes
}

describe('the meaning of a row, written by hand', () => {
  it('int4: the lowest nibble first, 8 is zero', () => {
    // bf16 0x3f00 = 0.5
    expect([...decodeRows(record([0x80, 0xf9], [0x00, 0x3f]), 4, int4)]).toEqual([-4, 0, 0.5, 3.5])
  })

  it('int8: a group of three and one of one, each with its scale and zero point', () => {
    // f16 0x3c00 = 1, 0x0001 = 2^-24
    const bytes = record([0, 128, 255, 7], [0x00, 0x3c, 0x01, 0x00], [128, 5])
    expect([...decodeRows(bytes, 4, int8)]).toEqual([-128, 0, 127, 2 * 2 ** -24])
  })

  it('fp8: e4m3fn times its scale', () => {
    // f32 2 = 0x40000000
    expect([...decodeRows(record([0x38, 0xb9, 0x7e, 0x01], [0, 0, 0, 0x40]), 4, fp8)]).toEqual([2, -2.25, 896, 2 ** -8])
  })

  it.each([
    [0x00, 0],
    [0x80, -0],
    [0x01, 2 ** -9],
    [0x87, -7 * 2 ** -9],
    [0x08, 2 ** -6],
    [0x38, 1],
    [0x7e, 448],
    [0xfe, -448],
    [0x7f, NaN],
    [0xff, NaN],
  ])('e4m3fn %i is %f', (code, value) => {
    expect(e4m3Value(code)).toBe(value)
  })
})

function stored(bytes: Uint8Array<ArrayBuffer>, columnCount: number, format: WeightFormat): StoredRows {
  return { bytes, columnCount, format, values: decodeRows(bytes, columnCount, format) }
}

/** Equal bits, any NaN for any NaN. */
function told(values: Float32Array): Uint32Array {
  return bits(values.map((value) => (Number.isNaN(value) ? NaN : value)))
}

/** As `told`, but nothing of what is denormal in f32: WGSL lets a GPU flush that. Every f16 is normal there. */
function settled(values: Float32Array, meant: Float32Array): Uint32Array {
  return told(values.map((value, i) => (isDenormal(meant[i] ?? 0) ? 0 : value)))
}

describe('on the GPU', () => {
  let bench: KernelBench
  beforeAll(async () => {
    bench = await openBench()
  })
  afterEach(() => bench.clear())
  afterAll(() => bench.close())

  /** The matrix through the embedding kernel: value by value as decoded. */
  async function decoded({ bytes, columnCount, format, values }: StoredRows): Promise<Float32Array> {
    const rowCount = values.length / columnCount
    const rows = bench.slice(Uint32Array.from({ length: 4 * rowCount }, (_, i) => (i % 4 === 0 ? i / 4 : 0)))
    const table = bench.stored({ bytes, columnCount, format, values })
    const x = bench.result(rowCount, columnCount)
    await bench.run(embed({ rows, sampled: rows, table, x }, rowCount), rowCount)
    return bench.read(x, rowCount)
  }

  it('every code of fp8 is exact: both zeros, denormals, NaN', async () => {
    const format: QuantizedFormat = { kind: 'fp8', groupColumns: 256, scale: 'f32', hasZeroPoints: false }
    const one = Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    const rows = stored(Uint8Array.from([...Array(256).keys(), ...one]), 256, format)
    expect(told(await decoded(rows))).toEqual(told(rows.values))
  })

  describe.each(['f16', 'bf16'] as const)('%s', (type) => {
    it('every value is exact', async () => {
      const rows = stored(new Uint8Array(Uint16Array.from({ length: 2 ** 16 }, (_, i) => i).buffer), 256, type)
      expect(settled(await decoded(rows), rows.values)).toEqual(settled(rows.values, rows.values))
    })

    it('every scale is exact', async () => {
      const format: QuantizedFormat = { kind: 'int8', groupColumns: 1, scale: type, hasZeroPoints: false }
      const { bytes, scaleStart } = rowLayout(256, format)
      const records = new Uint8Array(256 * bytes)
      const view = new DataView(records.buffer)
      for (let row = 0; row < 256; row++) {
        // One more than zero's 128: the weight is its scale.
        records.fill(129, row * bytes, row * bytes + scaleStart)
        for (let k = 0; k < 256; k++) view.setUint16(row * bytes + scaleStart + 2 * k, 256 * row + k, true)
      }
      const rows = stored(records, 256, format)
      expect(settled(await decoded(rows), rows.values)).toEqual(settled(rows.values, rows.values))
    })
  })
})

function isDenormal(value: number): boolean {
  return value !== 0 && Math.abs(value) < 2 ** -126
}
