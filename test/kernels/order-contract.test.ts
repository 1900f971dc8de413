/**
 * The order contract, bit for bit: K ascending by fma in chunks of 32, the chunks' sums ascending, one row or several.
 *
 * The expected bits come from the same order in f64 rounded to f32 at each step, which is that f32 arithmetic but for
 * double roundings that these seeds do not meet. WGSL lets fma round its product first; then all of them do.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'
import type { MatmulOperands } from '../../gpu-worker/kernels/matmul-operands.ts'
import { matmulRows } from '../../gpu-worker/kernels/matmul-rows.ts'
import { matmulSingle } from '../../gpu-worker/kernels/matmul.ts'
import { CHUNK_COLUMNS } from '../../gpu-worker/kernels/weight-shader.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

type Fma = (a: number, b: number, c: number) => number

const f32 = Math.fround
const fused: Fma = (a, b, c) => f32(a * b + c)
const unfused: Fma = (a, b, c) => f32(f32(a * b) + c)

function dotInOrder(w: Float32Array, x: Float32Array, chunk: number, fma: Fma): number {
  let total = 0
  for (let start = 0; start < w.length; start += chunk) {
    let part = 0
    const end = Math.min(start + chunk, w.length)
    for (let k = start; k < end; k++) part = fma(w[k] ?? 0, x[k] ?? 0, part)
    total = f32(total + part)
  }
  return total
}

const variants: readonly [name: string, dispatches: (operands: MatmulOperands, rowsMax: number) => Dispatch[]][] = [
  ['matmul', (operands, rowsMax) => matmulSingle(operands, rowsMax, Infinity)],
  ['matmul-rows', (operands, rowsMax) => matmulRows(operands, rowsMax, 1)],
]

describe.each(variants)('%s', (_, dispatches) => {
  it.each(['f32', 'bf16', 'f16'] as const)(
    'of %s sums in the order of the contract and in no other',
    async (format) => {
      const [n, k, rows] = [33, 1000, 5]
      const w = rounded(seeded(n * k, 1), format)
      const x = seeded(rows * k, 2)
      const y = bench.result(rows, n)
      await bench.run(dispatches({ x: bench.activation(x, k), matrix: bench.matrix(w, k, format), y }, 8), rows)
      const got = bits(await bench.read(y, rows))
      const inOrder = (chunk: number, fma: Fma): Uint32Array =>
        bits(
          Float32Array.from({ length: rows * n }, (__, i) => {
            const [row, column] = [Math.floor(i / n), i % n]
            return dotInOrder(w.subarray(column * k, (column + 1) * k), x.subarray(row * k, (row + 1) * k), chunk, fma)
          }),
        )
      expect([inOrder(CHUNK_COLUMNS, fused), inOrder(CHUNK_COLUMNS, unfused)]).toContainEqual(got)
      expect([inOrder(16, fused), inOrder(64, fused), inOrder(1024, fused), inOrder(1024, unfused)]).not.toContainEqual(
        got,
      )
    },
  )
})
