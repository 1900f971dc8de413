/** bench roofline: the page keeps what is written by hand, and a product is timed only if its output is right. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Report } from '../../bench/report.ts'
import { withTable } from '../../bench/roofline/page.ts'
import { timeProducts } from '../../bench/roofline/products.ts'
import { ProbeBench } from '../../cli/plan/probe-bench.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'

let gpu: Gpu
beforeAll(async () => {
  gpu = await openDevice()
})
afterAll(() => gpu.close())

const report: Report = {
  bench: 'roofline',
  machine: 'a machine',
  adapter: 'adapter A',
  date: '2026-11-23',
  figures: [{ name: 'stream', value: 6.42, unit: 'GB/s', goal: '≥ 7', holds: false }],
}

it('a table replaces its own adapter’s and nothing else', () => {
  const first = withTable('# By hand\n', report)
  const both = withTable(first, { ...report, adapter: 'adapter B' })
  const again = withTable(both, { ...report, figures: [{ name: 'stream', value: 8, unit: 'GB/s' }] })
  expect(again).toContain('# By hand\n')
  expect(again.match(/\| stream \|.*/g)).toEqual(['| stream | 8.00 GB/s |  |', '| stream | 6.42 GB/s | ≥ 7: short |'])
  expect(again.indexOf('adapter A')).toBeLessThan(again.indexOf('adapter B'))
})

it.each(['gemv', 'gemm'] as const)('ours and the naive %s both give the product', async (naive) => {
  const bench = new ProbeBench(gpu)
  const product = { format: 'bf16', rowCount: 64, columnCount: 64, rows: 4, naive } as const
  const times = await timeProducts(bench, product)
  expect(times.naiveSeconds).toBeGreaterThan(0)
  expect(times).toMatchObject({ bytes: 64 * 128 + 4 * 4 * 128, flops: 2 * 4 * 64 * 64 })
  bench.close()
})

it('matrices of several layers are each right, and told as one', async () => {
  const bench = new ProbeBench(gpu)
  const times = await timeProducts(bench, { format: 'bf16', rowCount: 64, columnCount: 64, rows: 4, layers: 3 })
  expect(times).toMatchObject({ bytes: 64 * 128 + 4 * 4 * 128, flops: 2 * 4 * 64 * 64, naiveSeconds: null })
  bench.close()
})

it('a wrong output is no time', () => {
  const bench = new ProbeBench(gpu)
  expect(() => bench.check('product', false)).toThrow(/computed something else/)
  bench.close()
})
