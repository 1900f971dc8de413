/**
 * What an adapter can do at most, as far as WGSL can ask it: the best of a fixed set of streams and of fma chains.
 *
 * Each probe's result is checked. Knows none of Axle's kernels.
 */
import { readFileSync } from 'node:fs'
import { fillProbe, type ProbeBench, VECTORS_EACH } from '../../cli/plan/probe-bench.ts'
import type { Figure } from '../report.ts'

export interface Peaks {
  readonly bytesPerSecond: number
  readonly flopsPerSecond: number
  readonly figures: readonly Figure[]
}

const CHAIN_COUNTS = [4, 8, 16, 32]
const LOOPS = 256
const LINKS_A_LOOP = 4
const INVOCATIONS = 2048 * 256

/** Reads `streamBytes`, which no cache should hold. */
export async function measurePeaks(bench: ProbeBench, streamBytes: number): Promise<Peaks> {
  const streams = await timeStreams(bench, streamBytes)
  const chains: Rate[] = []
  for (const count of CHAIN_COUNTS) chains.push({ name: `fma, ${count} chains`, rate: await timeChains(bench, count) })
  const best = (rates: readonly Rate[]): number => Math.max(...rates.map(({ rate }) => rate))
  const inUnits = (rates: readonly Rate[], unit: string): Figure[] =>
    rates.map(({ name, rate }) => ({ name, value: rate / 1e9, unit }))
  return {
    bytesPerSecond: best(streams),
    flopsPerSecond: best(chains),
    figures: [...inUnits(streams, 'GB/s'), ...inUnits(chains, 'GFLOP/s')],
  }
}

/** A second: bytes or operations. */
interface Rate {
  readonly name: string
  readonly rate: number
}

async function timeStreams(bench: ProbeBench, bytesMost: number): Promise<Rate[]> {
  const workgroups = Math.floor(bytesMost / 16 / VECTORS_EACH)
  const bytes = workgroups * VECTORS_EACH * 16
  const words = bench.storage('words', bytes)
  await bench.run(fillProbe(words, bytes, { RECORD: 0, HEAD: 0, FIRST: 0, SECOND: 0 }))
  const sums = bench.storage('sums', workgroups * 256 * 4)
  // Word i is i & 7: vectors are 0 1 2 3 and 4 5 6 7 in turns.
  const streams = [
    {
      name: 'stream, vec4<u32>',
      folder: PLAN_PROBES,
      file: 'stream',
      each: 16,
      sumOf: (lane: number) => 64 * (lane % 2 === 0 ? 6 : 22),
    },
    {
      name: 'stream, vec4<u32>, a run a lane',
      folder: OWN_PROBES,
      file: 'stream-runs',
      each: 16,
      sumOf: () => 32 * (6 + 22),
    },
    {
      name: 'stream, u32',
      folder: OWN_PROBES,
      file: 'stream-words',
      each: 4,
      sumOf: (lane: number) => 256 * (lane & 7),
    },
  ]
  const rates: Rate[] = []
  for (const { name, folder, file, each, sumOf } of streams) {
    const source = readFileSync(new URL(`${file}.wgsl`, folder), 'utf8')
    const program = { name: file, source, access: ['read', 'write'], constants: { COUNT: bytes / each } } as const
    const seconds = await bench.seconds([{ program, bindings: [words, sums], grid: () => [workgroups, 1, 1] }])
    const got = new Uint32Array(await bench.read(sums, workgroups * 256 * 4))
    bench.check(
      file,
      got.every((sum, i) => sum === sumOf(i % 256)),
    )
    rates.push({ name, rate: bytes / seconds })
  }
  return rates
}

const PLAN_PROBES = new URL('../../cli/plan/probes/', import.meta.url)
const OWN_PROBES = new URL('./', import.meta.url)

async function timeChains(bench: ProbeBench, count: number): Promise<number> {
  const factors = bench.storage('factors', 8)
  const y = bench.storage('y', INVOCATIONS * 4)
  bench.write(factors, new Float32Array([1, 2 ** -10]))
  const seconds = await bench.seconds([
    {
      program: {
        name: `fma-${count}`,
        source: chainsSource(count / 4),
        access: ['read', 'write'],
        constants: { LOOPS },
      },
      bindings: [factors, y],
      grid: () => [INVOCATIONS / 256, 1, 1],
    },
  ])
  const links = LOOPS * LINKS_A_LOOP
  const got = new Float32Array(await bench.read(y, INVOCATIONS * 4))
  bench.check(
    'fma chains',
    got.every((sum) => sum === (count * links) / 1024),
  )
  return (INVOCATIONS * count * links * 2) / seconds
}

/** multiply-add.wgsl with another number of chains, four in a vec4: written out, so that each stays in registers. */
function chainsSource(vectorCount: number): string {
  const names = Array.from({ length: vectorCount }, (_, i) => `c${i}`)
  const link = names.map((name) => `    ${name} = fma(${name}, scale, step);\n`).join('')
  return `struct Params {
  LOOPS: u32,
}

@group(0) @binding(0) var<storage, read> factors: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let scale = vec4<f32>(factors[0]);
  let step = vec4<f32>(factors[1]);
${names.map((name) => `  var ${name} = vec4<f32>();\n`).join('')}
  for (var i = 0u; i < params.LOOPS; i += 1u) {
${link.repeat(LINKS_A_LOOP)}  }
  let sum = ${names.join(' + ')};
  y[group.x * 256u + lane] = (sum.x + sum.y) + (sum.z + sum.w);
}
`
}
