/**
 * `npm run bench -- roofline [--write]`: what this adapter can do at most, and the share of it that each kernel reaches.
 *
 * A roof is the nearer of two: the kernel's bytes at the best stream, its operations at the best fma chains. Beside products
 * of large operands run, in turns, the kernels one would first write. `--write` puts the table into docs/performance.md.
 */
import { loadavg } from 'node:os'
import { ProbeBench } from '../cli/plan/probe-bench.ts'
import { timeAttention } from '../cli/plan/product-probe.ts'
import { openDevice, type Gpu } from '../gpu-worker/gpu/device.ts'
import { attentionShape } from '../gpu-worker/model/scratch.ts'
import { machineName, type Figure, type Report } from './report.ts'
import { casesFor } from './roofline/cases.ts'
import { expertsName, timeExperts } from './roofline/experts.ts'
import { writeTable } from './roofline/page.ts'
import { measurePeaks, type Peaks } from './roofline/peaks.ts'
import { productName, timeProducts, type ProductTimes } from './roofline/products.ts'
import { samplerName, timeSampler } from './roofline/sampler.ts'

export async function roofline({ isWrite }: { readonly isWrite: boolean }): Promise<Report> {
  const [load = 0] = loadavg()
  const gpu = await openDevice()
  try {
    const figures = await measure(gpu)
    const report: Report = {
      bench: 'roofline',
      machine: machineName(),
      adapter: `${gpu.adapter.description}, kernels for ${gpu.processor}s`,
      date: new Date().toISOString().slice(0, 10),
      notes: [
        'Best of three rounds, each of runs that last 0.1 s together; every output checked.',
        'A share is of the nearer roof: bytes at the best stream, operations at the best fma.',
        `Load average when it began: ${load.toFixed(1)}.`,
      ],
      figures,
    }
    if (isWrite) await writeTable(report)
    return report
  } finally {
    gpu.close()
  }
}

async function measure(gpu: Gpu): Promise<Figure[]> {
  const cases = casesFor(gpu.processor)
  const peaks = await alone(gpu, (bench) => measurePeaks(bench, Math.min(cases.streamBytes, bench.bindingBytesMax)))
  const figures: Figure[] = [...peaks.figures]
  for (const { product, shareMin, ratioMin } of cases.products) {
    const times = await alone(gpu, (bench) => timeProducts(bench, product))
    const name = productName(product)
    figures.push(...rates(name, times, peaks, shareMin))
    if (times.naiveSeconds === null) continue
    const value = times.naiveSeconds / times.seconds
    const goal = ratioMin === undefined ? {} : { goal: `≥ ${ratioMin}`, holds: value >= ratioMin }
    figures.push({ name: `${name}: against the naive ${product.naive}`, value, unit: '×', ...goal })
  }
  for (const shape of cases.experts) {
    const times = await alone(gpu, (bench) => timeExperts(bench, shape))
    figures.push(...rates(expertsName(shape), times, peaks))
  }
  for (const { name, config, keys, rows } of cases.attention) {
    const rate = await alone(gpu, (bench) => timeAttention(bench, attentionShape(config), 'f32', { keys, rows }))
    const value = rate.flopsPerSecond / 1e9
    figures.push(
      { name, value, unit: 'GFLOP/s' },
      { name: `${name}: share`, value: (100 * rate.flopsPerSecond) / peaks.flopsPerSecond, unit: '% of the roof' },
    )
  }
  for (const shape of cases.samplers) {
    const { seconds, bytes } = await alone(gpu, (bench) => timeSampler(bench, shape))
    const roofSeconds = bytes / peaks.bytesPerSecond
    figures.push(
      { name: samplerName(shape), value: seconds * 1e3, unit: 'ms' },
      { name: `${samplerName(shape)}: share`, value: (100 * roofSeconds) / seconds, unit: '% of the roof' },
    )
  }
  return figures
}

export function rates(
  name: string,
  { seconds, bytes, flops }: ProductTimes,
  peaks: Peaks,
  shareMin?: number,
): Figure[] {
  const byBytes = bytes / peaks.bytesPerSecond
  const byFlops = flops / peaks.flopsPerSecond
  const share = (100 * Math.max(byBytes, byFlops)) / seconds
  const goal = shareMin === undefined ? {} : { goal: `≥ ${shareMin}`, holds: share >= shareMin }
  const rate =
    byBytes > byFlops
      ? { value: bytes / seconds / 1e9, unit: 'GB/s' }
      : { value: flops / seconds / 1e9, unit: 'GFLOP/s' }
  return [
    { name, ...rate },
    { name: `${name}: share`, value: share, unit: '% of the roof', ...goal },
  ]
}

/** On a bench of its own, so that no two sets of operands are held at once. */
export async function alone<T>(gpu: Gpu, run: (bench: ProbeBench) => Promise<T>): Promise<T> {
  const bench = new ProbeBench(gpu)
  try {
    return await run(bench)
  } finally {
    bench.close()
  }
}
