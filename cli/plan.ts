/**
 * `axle plan`: what a checkpoint, or a published model by name, takes of a machine, and how fast the machine can be.
 *
 * Reads headers, never weights. Computes by the byte and operation model of `plan/step-cost.ts`; prints, or gives JSON.
 */
import { slotsOf } from '../gpu-worker/model/expert-slots.ts'
import { pageFormat } from '../gpu-worker/model/profile.ts'
import { parsePlanArguments, HELP, type PlanArguments } from './plan/arguments.ts'
import { knownDevice, type Device } from './plan/devices.ts'
import { makePlan } from './plan/plan.ts'
import { report } from './plan/report.ts'
import { serveMemory } from './plan/serve-memory.ts'
import { kindOf, partFormats } from './plan/part-formats.ts'
import { subjectOf } from './plan/subject.ts'
import { measureThis } from './plan/this-device.ts'
import { reportFailure } from './report-failure.ts'

/** Prints what went wrong on stderr and sets exit code 1. */
export async function plan(args: string[]): Promise<void> {
  try {
    const request = parsePlanArguments(args, process.env)
    if (request === null) console.log(HELP)
    else await print(request)
  } catch (error) {
    reportFailure(error)
  }
}

async function print(request: PlanArguments): Promise<void> {
  const subject = await subjectOf(request.source, request.mix)
  const { config } = subject
  const contextTokens = request.contextTokens ?? config.contextTokensMax
  if (contextTokens > config.contextTokensMax) {
    throw new Error(`--context: the model was made for ${config.contextTokensMax.toLocaleString('en')} tokens at most`)
  }
  if (request.count > config.layerCount) {
    throw new Error(`--count: the model has ${config.layerCount} layers, and a device takes one at least`)
  }
  const formats = partFormats(subject.layout)
  const pages = pageFormat(request.profile)
  const kinds = { experts: kindOf(formats.experts), rest: kindOf(formats.rest), pages }
  const parts = { config, ...formats, pages }
  const devices: Device[] = []
  for (const name of request.devices) {
    devices.push(knownDevice(name, kinds) ?? (await measureThis(parts, request.memoryBytes)))
  }
  const demand = { contextTokens, sequences: request.sequences }
  const expertSlots = request.expertSlots === null ? null : slotsOf(request.expertSlots, config.routedExpertCount)
  const made = makePlan({
    ...subject,
    devices,
    count: request.count,
    demand,
    memory: serveMemory(config, request.profile),
    expertSlots,
  })
  const { name, storage } = subject
  const asked = { name, storage, ...demand, count: request.count, profile: request.profile, expertSlots }
  console.log(request.json ? JSON.stringify({ asked, ...made }, null, 2) : report(config, asked, made))
}
