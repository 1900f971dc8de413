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
 * Axle's kernels on an H100 80GB HBM3 (driver 580.159, Vulkan, Dawn 0.6.2, validation on), 2026-11-24: of
 * `axle plan --preset axk1 --device this`.
 *
 * Products of A.X K1's shapes, [16384, 7168] for experts and [7168, 7168] for the rest: bytes of weights a second for one
 * row, operations a second for four. A real layer (`bench k1-layer`) takes 1.1 ms for a token and 5.4 ms for two at position
 * 100,017, where these give 0.4 and 6.0. The small kernels between the products are in neither rate.
 * Not measured: f16 and f32, taken as bf16; int4 and fp8 outside experts, bytes in proportion to int8 and operations as
 * of experts.
 */
const MEASURED_CARD = 'h100-80g'
const MEASURED_EXPERTS: Readonly<Record<FormatKind, Measured>> = {
  f32: [2.53e12, 3.28e12],
  f16: [2.53e12, 3.28e12],
  bf16: [2.53e12, 3.28e12],
  int8: [1.9e12, 1.66e12],
  fp8: [1.6e12, 4.57e12],
  int4: [1.49e12, 3.32e12],
}
const MEASURED_REST: Readonly<Record<FormatKind, Measured>> = {
  f32: [2.1e12, 5.32e12],
  f16: [2.1e12, 5.32e12],
  bf16: [2.1e12, 5.32e12],
  int8: [1.55e12, 3.7e12],
  fp8: [1.31e12, 4.57e12],
  int4: [1.22e12, 3.32e12],
}
/** Attention of 16 rows, and of one. */
const MEASURED_ATTENTION: Readonly<Record<PageFormat, readonly [flopsPerSecond: number, ofRow: number]>> = {
  f32: [1.06e13, 2.56e12],
  f16: [1.1e13, 2.58e12],
}
/** A dispatch as the Runner encodes it. */
const MEASURED_DISPATCH_SECONDS = 5.5e-6

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
    asBuilt: scaledRates(formats, {
      computing: sheet.f32Teraflops / measured.f32Teraflops,
      reading: sheet.gigabytesPerSecond / measured.gigabytesPerSecond,
    }),
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

/** How much faster a card is than the measured one. */
interface Ratios {
  readonly computing: number
  readonly reading: number
}

/** What was measured, times how much faster this card computes; it reads no faster than by the lesser of both. */
function scaledRates({ experts, rest, pages }: PartFormats, { computing, reading }: Ratios): Rates {
  const bytesTimes = Math.min(computing, reading)
  const product = ([bytesPerSecond, flopsPerSecond]: Measured): PartRates => ({
    bytesPerSecond: bytesPerSecond * bytesTimes,
    flopsPerSecond: flopsPerSecond * computing,
    flopsPerSecondOfRow: null,
  })
  const [flopsPerSecond, ofRow] = MEASURED_ATTENTION[pages]
  return {
    experts: product(MEASURED_EXPERTS[experts]),
    rest: product(MEASURED_REST[rest]),
    attention: {
      // Its entries come from caches: reading was never what limited it.
      bytesPerSecond: MEASURED_EXPERTS.bf16[0] * bytesTimes,
      flopsPerSecond: flopsPerSecond * computing,
      flopsPerSecondOfRow: ofRow * computing,
    },
    dispatchSeconds: MEASURED_DISPATCH_SECONDS,
  }
}
