/** Whether it fits, in sentences, and what would. Knows no speed. */
import { SEQUENCES_MAX } from './fit.ts'
import { gigabytes, whole } from './numbers.ts'
import type { DevicePlan, Plan } from './plan.ts'
import type { Asked } from './report.ts'
import { nameOf } from './speed-tables.ts'

export function verdicts(asked: Asked, plan: Plan): string {
  return [...plan.devices.flatMap((device) => sentences(asked, plan, device)), ...bindingLimits(plan)].join('\n')
}

function sentences(asked: Asked, plan: Plan, devicePlan: DevicePlan): string[] {
  const { verdict, wouldFit } = devicePlan
  const { sequences, contextTokens } = asked
  const what = `${nameOf(devicePlan)}: ${whole(sequences)} × ${whole(contextTokens)} tokens`
  if (verdict.fits && verdict.freeBytes === null) {
    return [
      `${what} need ${gigabytes(devicePlan.fullest.bytes)} GB; WebGPU tells no memory: say --memory for a verdict`,
    ]
  }
  if (verdict.fits) {
    const most = wouldFit.sequences === SEQUENCES_MAX ? ", a worker's most" : ''
    return [`${what} fit; room for ${whole(wouldFit.sequences)} sequences of that context${most}`]
  }
  return [
    `${what} do not fit; ${whatDoes(asked, plan, devicePlan)}`,
    `  for ${sequences === 1 ? 'it' : `all ${whole(sequences)}`}: ${purchase(devicePlan)}`,
  ]
}

function whatDoes({ sequences, contextTokens, count }: Asked, plan: Plan, { device, wouldFit }: DevicePlan): string {
  const ways: string[] = []
  if (wouldFit.sequences > 0) ways.push(`${whole(wouldFit.sequences)} × ${whole(contextTokens)}`)
  if (wouldFit.contextTokens > 0) ways.push(`${whole(sequences)} × ${whole(wouldFit.contextTokens)}`)
  if (ways.length > 0) return `${ways.join(' or ')} would`
  const memory = device.memoryBytes === null ? '' : `, memory ${gigabytes(count * device.memoryBytes)} GB`
  return `not one does: weights ${gigabytes(plan.weights.bytes)} GB${memory}`
}

function purchase({ wouldFit: { purchase: needed } }: DevicePlan): string {
  if (needed === null) return 'no number of these: a layer with its cache is more than one holds'
  const { sets, sequencesEach, devicesEach } = needed
  if (sets === 1) return `${whole(devicesEach)} of these`
  return `${whole(sets * devicesEach)} of these, as ${whole(sets)} sets of ${whole(devicesEach)}, each with the whole model and ${whole(sequencesEach)} sequences`
}

/** Where one binding for a layer's cache is what ends the room, however much memory is free. */
function bindingLimits({ cache, devices }: Plan): string[] {
  const sequenceTokens = cache.bytesPerSequence / cache.bytesPerToken
  const limits = new Map<number, { readonly tokens: number; readonly names: string[] }>()
  for (const { device, verdict, wouldFit } of devices) {
    if (verdict.isCacheBindable && wouldFit.sequences < Math.floor(verdict.cacheTokensMax / sequenceTokens)) continue
    const limit = limits.get(device.bindingBytesMax) ?? { tokens: verdict.cacheTokensMax, names: [] }
    limit.names.push(device.name)
    limits.set(device.bindingBytesMax, limit)
  }
  return [...limits].map(([bytes, { tokens, names }]) => {
    const where = names.length > 1 && names.length === devices.length ? 'each of these' : names.join(', ')
    return `A layer's cache is one binding, ${gigabytes(bytes)} GB on ${where}: ${whole(tokens)} tokens in all at most`
  })
}
