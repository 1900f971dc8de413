/**
 * GPUs that a plan can be made for, with the source of every number. All figures are per device, SI units, no sparsity.
 *
 * Knows no model. Two sets of rates a device: the *roof* is what the vendor promises; *as built* is what Axle's own
 * kernels reached on the one card they were measured on, carried over as shares of the roof to the others.
 */

/** What a step's time is computed from. */
export interface Rates {
  readonly bytesPerSecond: number
  readonly flopsPerSecond: number
  /** Each dispatch of a pass, dependent or not. */
  readonly dispatchSeconds: number
}

export interface Device {
  readonly name: string
  readonly title: string
  /** Null: unknown (WebGPU does not tell). */
  readonly memoryBytes: number | null
  /** Largest storage binding. */
  readonly bindingBytesMax: number
  /** f32 arithmetic: what both profiles compute in. */
  readonly roof: Rates
  readonly asBuilt: Rates
  /** f16 products, f32 sums on matrix units: no profile uses them yet. Null: none, or unknown. */
  readonly matrixFlopsPerSecond: number | null
  /** Where the numbers come from, for the printed footer. */
  readonly sources: readonly string[]
}

/**
 * Measured on an H100 80GB HBM3 (driver 580.159, Vulkan, Dawn 0.6.2, validation on; docs/log.md): dispatches of one pass
 * 4.3–4.4 µs each; stream 2,954 GB/s and f32 fma 61 TFLOP/s, 88 % and 91 % of the data sheet. The int4 product in the
 * fixed order of sums: 1,726–1,924 GB/s of weights for one row, 881 GB/s for four rows at once.
 */
const DISPATCH_SECONDS = 4.4e-6
const MEASURED_ON = 'H100 80GB'
const PRODUCT_BYTES_PER_SECOND = 1825e9
/** Four rows, two operations a weight of 4.5 bits (group 32, f16 scales). */
const PRODUCT_FLOPS_PER_SECOND = (881e9 / (4.5 / 8)) * 4 * 2

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

const DATA_SHEETS: readonly [DataSheet, ...DataSheet[]] = [
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

const [measuredCard] = DATA_SHEETS
/** Shares of the roof, from the measurements above: 54 % of the bandwidth, 19 % of the f32 arithmetic. */
export const asBuiltShare = {
  bytes: PRODUCT_BYTES_PER_SECOND / (measuredCard.gigabytesPerSecond * 1e9),
  flops: PRODUCT_FLOPS_PER_SECOND / (measuredCard.f32Teraflops * 1e12),
}

export const deviceNames: readonly string[] = [...DATA_SHEETS.map(({ name }) => name), 'this']

/** A device of the table; null when there is no such name. `this` is measured elsewhere. */
export function knownDevice(name: string): Device | null {
  const sheet = DATA_SHEETS.find((row) => row.name === name)
  if (sheet === undefined) return null
  const roof: Rates = {
    bytesPerSecond: sheet.gigabytesPerSecond * 1e9,
    flopsPerSecond: sheet.f32Teraflops * 1e12,
    dispatchSeconds: DISPATCH_SECONDS,
  }
  const measured = sheet === measuredCard ? 'measured on this card' : `measured on an ${MEASURED_ON}, not on this card`
  return {
    name,
    title: sheet.title,
    memoryBytes: sheet.memoryGigabytes * 1e9,
    bindingBytesMax: NVIDIA_BINDING_BYTES,
    roof,
    asBuilt: asBuilt(roof),
    matrixFlopsPerSecond: sheet.matrixTeraflops * 1e12,
    sources: [`roof: ${sheet.source}`, `time of a dispatch and shares as built: ${measured}`],
  }
}

function asBuilt(roof: Rates): Rates {
  return {
    bytesPerSecond: roof.bytesPerSecond * asBuiltShare.bytes,
    flopsPerSecond: roof.flopsPerSecond * asBuiltShare.flops,
    dispatchSeconds: roof.dispatchSeconds,
  }
}
