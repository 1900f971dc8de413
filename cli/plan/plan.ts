/**
 * A plan: what a model takes of some devices and how fast they can be, as data. Every figure that is printed is here.
 *
 * Pure; reads no file, measures nothing. Sizes are bytes, times are seconds.
 */
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ExpertSlots } from '../../gpu-worker/model/expert-slots.ts'
import type { ModelLayout } from '../../gpu-worker/model/layout.ts'
import type { Device } from './devices.ts'
import { fullest, judge, mostSequences, stageMemories, whatFits, type Demand, type MemoryModel } from './fit.ts'
import type { StageMemory, Verdict, WouldFit } from './fit.ts'
import { decodePlan, prefillPlans, ridges } from './speed.ts'
import type { DecodePlan, Pipeline, PrefillPlan, Ridge } from './speed.ts'
import { modelWeightsSize, stageWeights } from './stages.ts'
import { weightMix, type WeightShare } from './weight-mix.ts'

export interface PlanRequest {
  readonly config: ModelConfig
  readonly layout: ModelLayout
  readonly devices: readonly Device[]
  /** Devices of one kind that hold the model together. */
  readonly count: number
  readonly demand: Demand
  readonly memory: CacheMemory
  /** Of a layer; null: all its experts are resident. */
  readonly expertSlots: ExpertSlots
}

/** What serving allocates besides weights. */
export type CacheMemory = Pick<MemoryModel, 'blockTokens' | 'blockBytes' | 'activationBytes'>

export interface Plan {
  readonly parameters: { readonly total: number; readonly active: number }
  readonly weights: { readonly shares: readonly WeightShare[]; readonly bytes: number }
  readonly cache: { readonly bytesPerToken: number; readonly bytesPerSequence: number; readonly bytes: number }
  readonly activationBytes: number
  readonly devices: readonly DevicePlan[]
}

export interface DevicePlan {
  readonly device: Device
  readonly stages: readonly StageMemory[]
  readonly fullest: StageMemory
  readonly verdict: Verdict
  readonly wouldFit: WouldFit
  /** At a short context, then at the asked one. */
  readonly decode: readonly DecodePlan[]
  readonly prefill: readonly PrefillPlan[]
  readonly ridge: Ridge
}

/** A chat's length, beside the longest that is asked for. */
const SHORT_CONTEXT_TOKENS = 4096

export function makePlan(request: PlanRequest): Plan {
  const { layout, demand, memory, config } = request
  const shares = weightMix(layout)
  const bytesPerToken = (memory.blockBytes / memory.blockTokens) * config.layerCount
  const perSequence = Math.ceil(demand.contextTokens / memory.blockTokens) * memory.blockTokens * bytesPerToken
  return {
    parameters: layout.parameters,
    weights: { shares, bytes: shares.reduce((sum, { bytes }) => sum + bytes, 0) },
    cache: { bytesPerToken, bytesPerSequence: perSequence, bytes: perSequence * demand.sequences },
    activationBytes: memory.activationBytes(demand),
    devices: devicePlans(request),
  }
}

/** A device and how the model's memory lies on it. */
interface Prepared {
  readonly device: Device
  readonly memory: MemoryModel
}

function devicePlans(request: PlanRequest): DevicePlan[] {
  const { config, layout, count, demand } = request
  const prepared = request.devices.map((device): Prepared => {
    const size = modelWeightsSize(config, layout, device.bindingBytesMax, request.expertSlots)
    return { device, memory: { ...request.memory, size, contextTokensMax: config.contextTokensMax } }
  })
  const contexts = [...new Set([Math.min(SHORT_CONTEXT_TOKENS, demand.contextTokens), demand.contextTokens])]
  const batches = contexts.flatMap((contextTokens) => {
    const most = prepared.map(({ device, memory }) =>
      mostSequences(memory, { ...demand, contextTokens }, count, device),
    )
    return batchSizes(demand.sequences, most).map((sequences) => ({ sequences, contextTokens }))
  })
  return prepared.map((own) => planDevice(request, own, batches))
}

function planDevice(
  { config, count, demand }: PlanRequest,
  { device, memory }: Prepared,
  batches: readonly Demand[],
): DevicePlan {
  const stages = stageMemories(memory, demand, count)
  const pipeline: Pipeline = {
    config,
    device,
    entryBytes: memory.blockBytes / memory.blockTokens,
    stages: stages.map(({ layers }) => stageWeights(memory.size, layers)),
  }
  return {
    device,
    stages,
    fullest: fullest(stages),
    verdict: judge(memory, demand, count, device),
    wouldFit: whatFits(memory, demand, count, device),
    decode: batches.map((batch) => decodePlan(pipeline, batch, judge(memory, batch, count, device).fits)),
    prefill: prefillPlans(
      pipeline,
      demand.contextTokens,
      (contextTokens) => judge(memory, { sequences: 1, contextTokens }, count, device).fits,
    ),
    ridge: ridges(config, memory.size, device),
  }
}

/** 1, 2, 4, … and the asked number; and the most that each device holds, where that is less. */
export function batchSizes(sequences: number, most: readonly number[]): number[] {
  const sizes = [sequences, ...most.filter((count) => count > 0 && count < sequences)]
  for (let size = 1; size < sequences; size *= 2) sizes.push(size)
  return [...new Set(sizes)].toSorted((a, b) => a - b)
}
