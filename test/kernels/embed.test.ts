/** embed: exact rows of the table, whatever its type and however it is split. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { embedReference } from '../../gpu-worker/kernels/embed.ref.ts'
import { embed } from '../../gpu-worker/kernels/embed.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const widths = [1, 7, 63, 64, 65, 128]

it.each(['f32', 'bf16', 'f16'] as const)('embed of %s copies each token its row, across windows', async (format) => {
  for (const width of widths) {
    const vocab = 23
    const table = rounded(seeded(vocab * width, 7), format)
    const tokenIds = [0, 22, 5, 6, 7, 5]
    const rows = bench.slice(Uint32Array.from(tokenIds.flatMap((id) => [id, 0, 0, 0])))
    const x = bench.result(tokenIds.length, width)
    await bench.run(
      embed({ rows, sampled: rows, table: bench.matrix(table, width, format, 6), x }, tokenIds.length),
      tokenIds.length,
    )
    expect(await bench.read(x, tokenIds.length)).toEqual(embedReference(tokenIds, table, width))
  }
})
