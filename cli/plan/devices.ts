/**
 * GPUs that a plan can be made for, with the source of every number. All figures are per device, SI units, no sparsity.
 *
 * Knows no model. Two sets of rates a device: the *roof* is what the vendor promises; *as built* is what Axle's own
 * kernels reach, measured on two cards and carried over to the others.
 */
import type { PageFormat } from '../../gpu-worker/kernels/latent-pages.ts'

/** How fast one part of a step reads and computes. */
export interface PartRates {
  readonly bytesPerSecond: number
  readonly flopsPerSecond: number
  /** One row alone cannot use more; null: it can use all. */
  readonly flopsPerSecondOfRow: number | null
}

/** What a step's time is computed from. */
export interface Rates {
  readonly experts: PartRates
  readonly rest: PartRates
  readonly attention: PartRates
  /** Each dispatch of a pass, dependent or not. */
  readonly dispatchSeconds: number
}

/** How weights are stored, as far as it decides how fast they are multiplied. */
export type FormatKind = 'f32' | 'f16' | 'bf16' | 'int8' | 'int4' | 'fp8'

export interface PartFormats {
  readonly experts: FormatKind
  readonly rest: FormatKind
  readonly pages: PageFormat
}

export interface Device {
  readonly name: string
  readonly title: string
  /** Null: unknown (WebGPU does not tell). */
  readonly memoryBytes: number | null
  /** Largest storage binding. */
  readonly bindingBytesMax: number
  /** f32 arithmetic: what both profiles compute in. The same for every part. */
  readonly roof: Rates
  readonly asBuilt: Rates
  /** Which of Axle's kernels run there. */
  readonly kernels: 'cpu' | 'gpu'
  /** f16 products, f32 sums on matrix units, which profile matrix uses; as built is not of it. Null: none, or unknown. */
  readonly matrixFlopsPerSecond: number | null
  /** Where the numbers come from, for the printed footer. */
  readonly sources: readonly string[]
}

/** Of tiny kernels in one pass on an H100, dependent or not. */
const ROOF_DISPATCH_SECONDS = 4.4e-6

type Measured = readonly [bytesPerSecond: number, flopsPerSecond: number]

/**
 * Axle's kernels on an H100 80GB HBM3 (driver 580.159, Vulkan, Dawn 0.6.2, validation on), 2026-11-23: of
 * `axle plan --preset axk1 --device this`. Other cards are taken to be faster as their arithmetic is.
 *
 * Products of A.X K1's shapes, [16384, 7168] for experts and [7168, 7168] for the rest: bytes of weights a second for one
 * row, operations a second for four. They are of the kernels before attention by tiles and products by lines: a real layer
 * (`bench k1-layer`) took 1.95 ms for a token and 14.5 ms for two at position 100,017 then, where these give 0.6 and 15,
 * and takes 1.65 and 6.7 now. The small kernels between the products are in neither rate.
 * Not measured: f16 and f32, taken as bf16; int4 and fp8 outside experts, in proportion to int8; attention over f32 pages at
 * 16 rows, in proportion to one.
 */
const MEASURED_CARD = 'h100-80g'
const MEASURED_EXPERTS: Readonly<Record<FormatKind, Measured>> = {
  f32: [579e9, 3.12e12],
  f16: [579e9, 3.12e12],
  bf16: [579e9, 3.12e12],
  int8: [508e9, 1.67e12],
  fp8: [547e9, 2.34e12],
  int4: [621e9, 3.3e12],
}
const MEASURED_REST: Readonly<Record<FormatKind, Measured>> = {
  f32: [1.37e12, 5.24e12],
  f16: [1.37e12, 5.24e12],
  bf16: [1.37e12, 5.24e12],
  int8: [1.13e12, 3.58e12],
  fp8: [1.22e12, 5.0e12],
  int4: [1.38e12, 7.1e12],
}
/** Attention of 16 rows, and of one. */
const MEASURED_ATTENTION: Readonly<Record<PageFormat, readonly [flopsPerSecond: number, ofRow: number]>> = {
  f32: [1.73e12, 1.57e12],
  f16: [2.28e12, 2.07e12],
}
/** A dispatch as the Runner encodes it. */
const MEASURED_DISPATCH_SECONDS = 7.3e-6

/** Storage bindings through Vulkan on NVIDIA's driver. */
const NVIDIA_BINDING_BYTES = 2 ** 31 - 4

interface DataSheet {
  readonly name: string
  readonly title: string
  readonly memoryGigabytes: number
  readonly gigabytesPerSecond: number
  readonly f32Teraflops: number
  readonly matrixTeraflops: number
  readonly source: string
}

const DATA_SHEETS: readonly DataSheet[] = [
  {
    name: 'h100-80g',
    title: 'NVIDIA H100 80GB SXM',
    memoryGigabytes: 80,
    gigabytesPerSecond: 3350,
    f32Teraflops: 67,
    matrixTeraflops: 989,
    source: 'NVIDIA H100 data sheet, SXM',
  },
  {
    name: 'h200',
    title: 'NVIDIA H200 141GB SXM',
    memoryGigabytes: 141,
    gigabytesPerSecond: 4800,
    f32Teraflops: 67,
    matrixTeraflops: 989,
    source: 'NVIDIA H200 data sheet, SXM',
  },
  {
    name: 'a100-80g',
    title: 'NVIDIA A100 80GB SXM',
    memoryGigabytes: 80,
    gigabytesPerSecond: 2039,
    f32Teraflops: 19.5,
    matrixTeraflops: 312,
    source: 'NVIDIA A100 data sheet, SXM 80GB',
  },
  {
    name: 'l40s',
    title: 'NVIDIA L40S 48GB',
    memoryGigabytes: 48,
    gigabytesPerSecond: 864,
    f32Teraflops: 91.6,
    matrixTeraflops: 362,
    source: 'NVIDIA L40S data sheet',
  },
  {
    name: '4090',
    title: 'NVIDIA GeForce RTX 4090 24GB',
    memoryGigabytes: 24,
    gigabytesPerSecond: 1008,
    f32Teraflops: 82.6,
    matrixTeraflops: 165.2,
    source: 'NVIDIA Ada architecture paper, RTX 4090',
  },
  {
    name: '5090',
    title: 'NVIDIA GeForce RTX 5090 32GB',
    memoryGigabytes: 32,
    gigabytesPerSecond: 1792,
    f32Teraflops: 104.8,
    matrixTeraflops: 209.5,
    source: 'NVIDIA Blackwell architecture paper, RTX 5090',
  },
]

export const deviceNames: readonly string[] = [...DATA_SHEETS.map(({ name }) => name), 'this']

/** A device of the table; null when there is no such name. `this` is measured elsewhere. */
export function knownDevice(name: string, formats: PartFormats): Device | null {
  const sheet = DATA_SHEETS.find((row) => row.name === name)
  const measured = DATA_SHEETS.find((row) => row.name === MEASURED_CARD)
  if (sheet === undefined || measured === undefined) return null
  return {
    name,
    title: sheet.title,
    memoryBytes: sheet.memoryGigabytes * 1e9,
    bindingBytesMax: NVIDIA_BINDING_BYTES,
    roof: roofRates(sheet.gigabytesPerSecond * 1e9, sheet.f32Teraflops * 1e12, ROOF_DISPATCH_SECONDS),
    asBuilt: scaledRates(formats, sheet.f32Teraflops / measured.f32Teraflops),
    kernels: 'gpu',
    matrixFlopsPerSecond: sheet.matrixTeraflops * 1e12,
    sources: [`roof: ${sheet.source}`, `as built: ${whereMeasured(name)}`],
  }
}

function whereMeasured(name: string): string {
  if (name === MEASURED_CARD) return 'measured on this card'
  return `an ${MEASURED_CARD}’s, by the f32 rates of both`
}

export function roofRates(bytesPerSecond: number, flopsPerSecond: number, dispatchSeconds: number): Rates {
  const part: PartRates = { bytesPerSecond, flopsPerSecond, flopsPerSecondOfRow: null }
  return { experts: part, rest: part, attention: part, dispatchSeconds }
}

/** What was measured, times how much faster this card computes. */
function scaledRates({ experts, rest, pages }: PartFormats, times: number): Rates {
  const product = ([bytesPerSecond, flopsPerSecond]: Measured): PartRates => ({
    bytesPerSecond: bytesPerSecond * times,
    flopsPerSecond: flopsPerSecond * times,
    flopsPerSecondOfRow: null,
  })
  const [flopsPerSecond, ofRow] = MEASURED_ATTENTION[pages]
  return {
    experts: product(MEASURED_EXPERTS[experts]),
    rest: product(MEASURED_REST[rest]),
    attention: {
      // Its entries come from caches: reading was never what limited it.
      bytesPerSecond: MEASURED_EXPERTS.bf16[0] * times,
      flopsPerSecond: flopsPerSecond * times,
      flopsPerSecondOfRow: ofRow * times,
    },
    dispatchSeconds: MEASURED_DISPATCH_SECONDS,
  }
}
