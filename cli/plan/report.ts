/**
 * A plan as text of at most 100 columns: what is asked, whether it fits, memory, speed, and the formulas behind it.
 *
 * Computes nothing: every figure comes from `plan.ts`.
 */
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ExpertSlots } from '../../gpu-worker/model/expert-slots.ts'
import type { WeightKind } from '../../gpu-worker/model/layout-sizes.ts'
import type { Profile } from '../../gpu-worker/model/profile.ts'
import type { PartRates } from './devices.ts'
import { brief, gigabytes, row, whole } from './numbers.ts'
import type { DevicePlan, Plan } from './plan.ts'
import { nameOf, speedTables } from './speed-tables.ts'
import { verdicts } from './verdicts.ts'

export interface Asked {
  readonly name: string
  readonly storage: string
  readonly contextTokens: number
  readonly sequences: number
  readonly count: number
  readonly profile: Profile
  /** Of a layer; null: all its experts are resident. */
  readonly expertSlots: ExpertSlots
}

/** Devices side by side; more are printed below. */
const DEVICES_ABREAST = 3

export function report(config: ModelConfig, asked: Asked, plan: Plan): string {
  const blocks = [heading(config, asked, plan), verdicts(asked, plan), weightTable(plan), cacheTable(asked, plan)]
  for (let i = 0; i < plan.devices.length; i += DEVICES_ABREAST) {
    const abreast = plan.devices.slice(i, i + DEVICES_ABREAST)
    blocks.push(memoryTable(asked, abreast), ...speedTables(abreast))
  }
  blocks.push(formulas(config, asked, plan))
  return blocks.join('\n\n')
}

function heading(config: ModelConfig, asked: Asked, { parameters }: Plan): string {
  return [
    `${asked.name}: ${whole(parameters.total)} parameters, ${whole(parameters.active)} active a token`,
    layersOf(config),
    `Asked: ${asked.storage}; ${whole(asked.sequences)} × ${whole(asked.contextTokens)} tokens; profile ${asked.profile}`,
  ].join('\n')
}

function layersOf(config: ModelConfig): string {
  const { layerCount, denseLayerCount, routedExpertCount, expertsPerToken, sharedExpertCount } = config
  if (denseLayerCount === layerCount) return `${layerCount} layers, all dense`
  const shared = sharedExpertCount === 0 ? '' : `, and ${sharedExpertCount} shared`
  const where = denseLayerCount === 0 ? '; in each' : `, ${denseLayerCount} dense; in each of the others`
  return `${layerCount} layers${where} a token takes ${expertsPerToken} of ${routedExpertCount} experts${shared}`
}

const KIND_NAMES: Readonly<Record<WeightKind, string>> = {
  embedding: 'embedding',
  attention: 'attention',
  denseMlp: 'dense MLP',
  router: 'router',
  sharedExperts: 'shared experts',
  routedExperts: 'routed experts',
  norms: 'norms',
  head: 'head',
}

const WEIGHT_COLUMNS = [-17, -22, 20, 13, 12]

function weightTable({ weights, parameters: all }: Plan): string {
  const lines = weights.shares.map(({ kind, format, parameters, bytes }) =>
    row(WEIGHT_COLUMNS, [
      `  ${KIND_NAMES[kind]}`,
      format,
      whole(parameters),
      bitsPerWeight(bytes, parameters),
      gigabytes(bytes),
    ]),
  )
  const parameters = weights.shares.reduce((sum, share) => sum + share.parameters, 0)
  const unused = all.total - parameters
  const bits = bitsPerWeight(weights.bytes, parameters)
  return [
    row(WEIGHT_COLUMNS, ['Weights', 'stored as', 'parameters', 'bits each', 'GB']),
    ...lines,
    row(WEIGHT_COLUMNS, ['  in all', '', whole(parameters), bits, gigabytes(weights.bytes)]),
    ...(unused === 0 ? [] : [row(WEIGHT_COLUMNS, ['  not loaded', 'unused', whole(unused)])]),
  ].join('\n')
}

function bitsPerWeight(bytes: number, parameters: number): string {
  return ((bytes * 8) / parameters).toFixed(2)
}

function cacheTable({ contextTokens, sequences, profile }: Asked, { cache, activationBytes }: Plan): string {
  const widths = [-62, 22]
  return [
    row(widths, [`Cache, profile ${profile}: ${whole(cache.bytesPerToken)} bytes a token`, 'GB']),
    row(widths, [`  a sequence of ${whole(contextTokens)} tokens`, gigabytes(cache.bytesPerSequence)]),
    row(widths, [`  ${whole(sequences)} of them`, gigabytes(cache.bytes)]),
    row(widths, ['Activations and upload ring, on every device', gigabytes(activationBytes)]),
  ].join('\n')
}

const MEMORY_LABEL = -28
const MEMORY_COLUMN = 24

function memoryTable({ count, expertSlots }: Asked, plans: readonly DevicePlan[]): string {
  const widths = [MEMORY_LABEL, ...plans.map(() => MEMORY_COLUMN)]
  const line = (label: string, of: (plan: DevicePlan) => string): string => row(widths, [label, ...plans.map(of)])
  const fullestIs = count === 1 ? '' : ' of the fullest'
  return [
    line(`Memory${fullestIs}, GB`, nameOf),
    ...(count === 1 ? [] : [line('  layers a device', cutOf), line('  its layers, from 0', fullestLayers)]),
    line('  weights', ({ fullest }) => gigabytes(fullest.weightBytes)),
    line('  cache', ({ fullest }) => gigabytes(fullest.cacheBytes)),
    line('  activations', ({ fullest }) => gigabytes(fullest.activationBytes)),
    line('  needs', ({ fullest }) => gigabytes(fullest.bytes)),
    line('  has', ({ device }) => (device.memoryBytes === null ? 'unknown' : gigabytes(device.memoryBytes))),
    line('  fits', verdictOf),
    ...(expertSlots === null
      ? []
      : [line('  experts in host memory', ({ fullest }) => gigabytes(fullest.waitingBytes))]),
  ].join('\n')
}

/** 8·8·8·8·7·7·7·8; of many devices the least and the most. */
function cutOf({ stages }: DevicePlan): string {
  const sizes = stages.map(({ layers: { start, end } }) => end - start)
  if (sizes.length <= CUTS_SHOWN) return sizes.join('·')
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)]
  return least === most ? `${most}` : `${least} … ${most}`
}

const CUTS_SHOWN = 8

function fullestLayers({ fullest: { layers } }: DevicePlan): string {
  const { start, end } = layers
  return end - start === 1 ? `${start}` : `${start} … ${end - 1}`
}

function verdictOf({ verdict: { fits, freeBytes, isCacheBindable } }: DevicePlan): string {
  if (freeBytes !== null && freeBytes < 0) return `no, ${gigabytes(-freeBytes)} over`
  if (!isCacheBindable) return 'no, see above'
  if (freeBytes === null) return 'unknown'
  return fits ? `yes, ${gigabytes(freeBytes)} free` : 'no'
}

function formulas(config: ModelConfig, { count, expertSlots }: Asked, { devices }: Plan): string {
  const { routedExpertCount: N, expertsPerToken: k, headCount, kvLoraRank: latent, qkRopeHeadDim: rope } = config
  const lines = [
    'How it is computed',
    `  distinct experts E(B) = N·(1 − (1 − k/N)^B), N = ${N}, k = ${k}: for tokens that choose independently`,
    '  bytes of a step = layers·E(B)·expert + other weights + Σ context·cache',
    `  operations = 2·B·(k experts + other weights) + Σ context·layers·${headCount}·(2·(${latent} + ${rope}) + 2·${latent})`,
    '  time = Σ over experts, other weights, attention of max(bytes / bandwidth, operations / f32 rate)',
    '      + dispatches · time of one',
    '  roof: at the rates below, each weight that a step needs read once',
    "  as built: as Axle's kernels work today: weights are read once for eight tokens, an expert's",
    '      once for each token that chose it, or for eight where two or more choose each',
  ]
  if (devices.some(({ device }) => device.matrixFlopsPerSecond !== null)) {
    lines.push('  matrix units: f16 products, f32 sums; profile matrix uses them, and is not planned here')
  }
  if (count > 1) {
    lines.push(
      `  ${count} devices: layers cut into ranges so that the fullest device holds least; a batch passes as`,
      '      micro-batches ("as"), so that all work: time = max(Σ stages, micro-batches · slowest stage);',
      "      experts and GB are one micro-batch's; from device to device: 0.033 ms + bytes at 8.1 GB/s",
      '      (no network). Runners of layer ranges exist; what feeds several micro-batches does not yet',
    )
  }
  if (expertSlots !== null) {
    lines.push(
      `  slots for ${expertSlots} of a layer's ${N} experts: the times are those of steps that find all they`,
      '      need in place; an expert that is missing is copied from host memory first (bench upload)',
    )
  }
  lines.push('  ridge: the chunk from which reading experts takes less time than computing with them')
  for (const { device } of devices) lines.push(...ratesOf(device))
  lines.push('  GB = 10⁹ bytes. Cards hold about 6 % more than their names say: left to the driver and shaders')
  return lines.join('\n')
}

function ratesOf({ name, title, roof, asBuilt, matrixFlopsPerSecond, sources }: DevicePlan['device']): string[] {
  const matrix = matrixFlopsPerSecond === null ? '' : `, matrix units ${operations(matrixFlopsPerSecond)}`
  const { experts, rest, attention } = asBuilt
  const ofRow =
    attention.flopsPerSecondOfRow === null ? '' : ` (a row alone ${operations(attention.flopsPerSecondOfRow)})`
  const [least, most] = [roof.dispatchSeconds, asBuilt.dispatchSeconds].map((seconds) => brief(seconds * 1e6))
  const dispatches = least === most ? `${most} µs` : `${least} µs, as built ${most}`
  return [
    `  ${name}: ${title}`,
    `      roof ${bothRates(roof.experts)}${matrix}`,
    `      as built experts ${bothRates(experts)}, rest ${bothRates(rest)}`,
    `      attention ${operations(attention.flopsPerSecond)}${ofRow}; dispatch ${dispatches}`,
    ...sources.map((source) => `      ${source}`),
  ]
}

function bothRates({ bytesPerSecond, flopsPerSecond }: PartRates): string {
  return `${brief(bytesPerSecond / 1e9)} GB/s ${operations(flopsPerSecond)}`
}

function operations(flopsPerSecond: number): string {
  return flopsPerSecond < 1e12 ? `${brief(flopsPerSecond / 1e9)} GFLOP/s` : `${brief(flopsPerSecond / 1e12)} TFLOP/s`
}
