/**
 * A checkpoint's tensors while a layout is made of them: each is claimed by its weight, and what is wrong is written down.
 *
 *     plain      ….weight                 f32, f16 or bf16 [rows, columns]
 *     integers   ….weight_packed          i32 [rows, ⌈columns · bits / 32⌉]                    (compressed-tensors)
 *                ….weight_scale           f32, f16 or bf16 [rows, groups], or [1]
 *                ….weight_zero_point      i32 [⌈rows · bits / 32⌉, groups]: packed along the rows
 *                ….weight_shape           i64 [2]
 *     fp8        ….weight                 f8_e4m3 [rows, columns]
 *                ….weight_scale_inv       f32, f16 or bf16 [⌈rows / block rows⌉, ⌈columns / block columns⌉]
 *
 * The config's word and the disk must agree, whichever of them says that a weight is quantised. Sees no bytes.
 */
import type { PlainFormat } from '../kernels/matrix.ts'
import { quote } from './checkpoint-error.ts'
import type { VectorLayout } from './layout.ts'
import type { Quantization, QuantizationScheme } from './quantization.ts'
import type { StoredWeight } from './row-source.ts'
import type { StoredType, TensorInfo } from './safetensors.ts'

const PLAIN_TYPES = ['f32', 'f16', 'bf16'] as const
const FP8_TYPE = 'f8_e4m3'

/** All tensors that a linear module may have; only some of them with any one scheme. */
const MODULE_TENSORS = [
  'weight',
  'weight_packed',
  'weight_scale',
  'weight_scale_inv',
  'weight_shape',
  'weight_zero_point',
  'weight_g_idx',
  'weight_global_scale',
  'input_scale',
  'bias',
] as const

export class StoredTensors {
  /** What keeps the checkpoint from being the model, one sentence each. */
  readonly problems: string[] = []
  readonly #tensors: ReadonlyMap<string, TensorInfo>
  readonly #quantization: Quantization | null
  readonly #claimed = new Set<string>()

  constructor(tensors: ReadonlyMap<string, TensorInfo>, quantization: Quantization | null) {
    this.#tensors = tensors
    this.#quantization = quantization
  }

  has(tensor: string): boolean {
    return this.#tensors.has(tensor)
  }

  /** Whether a linear module is stored, in whatever way. */
  hasModule(module: string): boolean {
    return this.has(`${module}.weight`) || this.has(`${module}.weight_packed`)
  }

  /** Tensors that no weight has claimed. */
  unclaimed(): TensorInfo[] {
    return [...this.#tensors.values()].filter(({ name }) => !this.#claimed.has(name))
  }

  /** The weight [rows, columns] of a linear module. A wrong one is written down; what is returned then is never read. */
  linear(module: string, rows: number, columns: number): StoredWeight {
    return this.#module(module, rows, columns, this.#quantization?.schemeOf(module) ?? null)
  }

  /** The weight of a module that no scheme quantises: router, embedding. */
  plain(module: string, rows: number, columns: number): StoredWeight {
    return this.#module(module, rows, columns, null)
  }

  /** Weights of all experts in one tensor [experts, rows, columns] without `.weight`; counted through as rows. */
  fused(module: string, tensor: string, experts: number, rows: number, columns: number): StoredWeight {
    const base = { name: tensor, values: tensor, scales: null, zeroPoints: null, rowsPerScale: 1 }
    const size = { rowCount: experts * rows, columnCount: columns }
    const shape = [experts, rows, columns]
    const scales = `${tensor}_scale_inv`
    const type = this.#tensors.get(tensor)?.type
    // compressed-tensors' schemes are for linear modules, and these are none.
    const scheme = this.#quantization?.method === 'fp8' ? this.#quantization.schemeOf(module) : null
    if (type !== undefined && (type === FP8_TYPE) !== (scheme !== null)) {
      this.#disagree(tensor, scheme, type === FP8_TYPE ? 'fp8' : 'plain')
      for (const name of [tensor, scales]) this.pass(name)
      return { ...base, ...size, format: 'f32' }
    }
    if (scheme?.kind !== 'fp8') return { ...base, ...size, format: this.#plainTensor(tensor, shape) }
    const { blockRows, blockColumns } = scheme
    if (rows % blockRows !== 0) {
      this.problems.push(`${tensor}: blocks of ${blockRows} rows do not divide an expert's ${rows}`)
    }
    this.#expect(tensor, [FP8_TYPE], shape)
    const scale = this.#plainTensor(scales, [experts, Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)])
    const format = { kind: 'fp8', groupColumns: blockColumns, scale, hasZeroPoints: false } as const
    return { ...base, ...size, scales, rowsPerScale: blockRows, format }
  }

  /** A plain tensor [width] under the first of its names that is stored. */
  vector(names: readonly string[], width: number): VectorLayout {
    const tensor = names.find((name) => this.has(name))
    if (tensor !== undefined) return { tensor, width, format: this.#plainTensor(tensor, [width]) }
    this.problems.push(`${names.join(' or ')} is missing`)
    return { tensor: names[0] ?? '', width, format: 'f32' }
  }

  /** Takes a tensor out of the question without using it. */
  pass(tensor: string): void {
    this.#claimed.add(tensor)
  }

  #module(module: string, rows: number, columns: number, scheme: QuantizationScheme | null): StoredWeight {
    const stored = this.#storage(module)
    const wanted = scheme === null ? 'plain' : scheme.kind === 'fp8' ? 'fp8' : 'packed'
    const base = { name: module, rowCount: rows, columnCount: columns }
    const values = `${module}.${wanted === 'packed' ? 'weight_packed' : 'weight'}`
    if (stored !== null && stored !== wanted) {
      this.#disagree(module, scheme, stored)
      for (const name of MODULE_TENSORS) this.pass(`${module}.${name}`)
      return { ...base, values, scales: null, zeroPoints: null, rowsPerScale: 1, format: 'f32' }
    }
    if (scheme === null) {
      const format = this.#plainTensor(values, [rows, columns])
      return { ...base, values, scales: null, zeroPoints: null, rowsPerScale: 1, format }
    }
    if (scheme.kind === 'fp8') {
      this.#expect(values, [FP8_TYPE], [rows, columns])
      return { ...base, values, zeroPoints: null, ...this.#blockScales(module, rows, columns, scheme) }
    }
    const { kind } = scheme
    const perWord = kind === 'int4' ? 8 : 4
    this.#expect(values, ['i32'], [rows, Math.ceil(columns / perWord)])
    const shape = `${module}.weight_shape`
    if (this.has(shape)) this.#expect(shape, ['i64', 'i32'], [2])
    const groupColumns = typeof scheme.scaleSpan === 'number' ? scheme.scaleSpan : columns
    const groups = Math.ceil(columns / groupColumns)
    const zeroPoints = scheme.hasZeroPoints ? `${module}.weight_zero_point` : null
    if (zeroPoints !== null) this.#expect(zeroPoints, ['i32'], [Math.ceil(rows / perWord), groups])
    const scales = `${module}.weight_scale`
    const isOne = scheme.scaleSpan === 'tensor'
    const scale = this.#plainTensor(scales, isOne ? this.#oneValue(scales) : [rows, groups])
    const format = { kind, groupColumns, scale, hasZeroPoints: scheme.hasZeroPoints } as const
    return { ...base, values, scales, zeroPoints, rowsPerScale: isOne ? rows : 1, format }
  }

  #blockScales(
    module: string,
    rows: number,
    columns: number,
    { blockRows, blockColumns }: QuantizationScheme & { readonly kind: 'fp8' },
  ): Pick<StoredWeight, 'scales' | 'rowsPerScale' | 'format'> {
    const scales = `${module}.weight_scale_inv`
    const scale = this.#plainTensor(scales, [Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)])
    const format = { kind: 'fp8', groupColumns: blockColumns, scale, hasZeroPoints: false } as const
    return { scales, rowsPerScale: blockRows, format }
  }

  #storage(module: string): 'plain' | 'packed' | 'fp8' | null {
    if (this.has(`${module}.weight_packed`)) return 'packed'
    const type = this.#tensors.get(`${module}.weight`)?.type
    if (type === undefined) return null
    return type === FP8_TYPE ? 'fp8' : 'plain'
  }

  #disagree(name: string, scheme: QuantizationScheme | null, stored: 'plain' | 'packed' | 'fp8'): void {
    const told = scheme === null ? 'not quantised' : `quantised to ${scheme.kind}`
    const seen = { plain: 'plain', packed: 'packed as integers', fp8: 'as fp8' }[stored]
    const by = this.#quantization === null ? 'without a quantization_config it is' : 'quantization_config says it is'
    this.problems.push(`${name}: ${by} ${told}, it is stored ${seen}`)
  }

  /** A single value is [1] or []. */
  #oneValue(tensor: string): readonly number[] {
    return this.#tensors.get(tensor)?.shape.length === 0 ? [] : [1]
  }

  #plainTensor(tensor: string, shape: readonly number[]): PlainFormat {
    const type = this.#expect(tensor, PLAIN_TYPES, shape)
    return PLAIN_TYPES.find((plain) => plain === type) ?? 'f32'
  }

  /** Claims a tensor; writes down what is wrong with it. */
  #expect(tensor: string, types: readonly StoredType[], shape: readonly number[]): StoredType | null {
    const info = this.#tensors.get(tensor)
    if (info === undefined) {
      this.problems.push(`${tensor} is missing`)
      return null
    }
    this.pass(tensor)
    const isShape = info.shape.length === shape.length && info.shape.every((size, axis) => size === shape[axis])
    if (!isShape || !types.includes(info.type)) {
      const expected = `${types.join(' or ')} [${shape.join(', ')}]`
      this.problems.push(`${quote(tensor)}: expected ${expected}, got ${info.type} [${info.shape.join(', ')}]`)
      return null
    }
    return info.type
  }
}
