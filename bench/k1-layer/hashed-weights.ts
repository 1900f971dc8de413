/**
 * The synthetic weights as numbers, a row at a time: what the hash means, read without kernels or row records.
 *
 * A value is exact in f64. Knows how each module is stored; nothing of layers.
 */
import { exponentFor, hashedWord, rowSeed, seedOf } from './counter-hash.ts'
import { weightRule } from './weight-rule.ts'

/** How a module's matrix is stored: plain bf16, or packed integers with a bf16 scale a group of columns. */
export type Storage = { readonly kind: 'bf16' } | { readonly kind: 'int4' | 'int8'; readonly group: number }

/** A scale that is doubled: whoever compares must notice. */
export interface FalseScale {
  readonly module: string
  readonly row: number
  readonly group: number
}

export class HashedWeights {
  readonly #storageOf: (module: string) => Storage
  readonly #falseScale: FalseScale | null

  constructor(storageOf: (module: string) => Storage, falseScale: FalseScale | null = null) {
    this.#storageOf = storageOf
    this.#falseScale = falseScale
  }

  /** Writes row `row` of `module` [rows, target.length]. */
  row(module: string, row: number, target: Float64Array): void {
    const storage = this.#storageOf(module)
    if (storage.kind === 'bf16') plainRow(module, row, target)
    else {
      packedRow(module, row, target, storage.kind === 'int4' ? 4 : 8)
      this.#scale(module, row, target, storage.kind, storage.group)
    }
  }

  #scale(module: string, row: number, target: Float64Array, kind: 'int4' | 'int8', group: number): void {
    const seed = rowSeed(seedOf(`${module}.weight_scale`), row)
    const unit = 2 ** exponentFor(weightRule(module).gain, target.length, kind)
    for (let start = 0, g = 0; start < target.length; start += group, g++) {
      const word = hashedWord(seed, g >> 1)
      let scale = unit * (1 + (((g & 1) === 0 ? word : word >>> 16) & 0x7f) / 128)
      if (this.#falseScale?.module === module && this.#falseScale.row === row && this.#falseScale.group === g)
        scale *= 2
      const end = Math.min(target.length, start + group)
      for (let k = start; k < end; k++) target[k] = (target[k] ?? 0) * scale
    }
  }
}

function plainRow(module: string, row: number, target: Float64Array): void {
  const { gain, isSigned, isNorm } = weightRule(module)
  const unit = 2 ** (isNorm ? -1 : exponentFor(gain, target.length, null))
  const seed = rowSeed(seedOf(`${module}.weight`), row)
  for (let k = 0; k < target.length; k++) {
    const word = hashedWord(seed, k >> 1)
    const half = (k & 1) === 0 ? word : word >>> 16
    const size = unit * (1 + (half & 0x7f) / 128)
    target[k] = isSigned && (half & 0x8000) !== 0 ? -size : size
  }
}

/** Integers around the middle, eight or four to a word, the lowest first. */
function packedRow(module: string, row: number, target: Float64Array, bits: 4 | 8): void {
  const seed = rowSeed(seedOf(`${module}.weight_packed`), row)
  const [perWord, mask, middle] = bits === 4 ? [8, 15, 8] : [4, 255, 128]
  for (let start = 0, i = 0; start < target.length; start += perWord, i++) {
    const word = hashedWord(seed, i)
    const count = Math.min(perWord, target.length - start)
    for (let j = 0; j < count; j++) target[start + j] = ((word >>> (bits * j)) & mask) - middle
  }
}
