/**
 * What `axle plan` is asked for: its flags, checked against each other. Knows no file and no device's numbers.
 */
import { parseArgs } from 'node:util'
import { byteSizeForms, parseBytes } from '../../gpu-worker/model/byte-size.ts'
import type { CheckpointMix, ExpertStorage, RestStorage } from '../../gpu-worker/model/checkpoint-shape.ts'
import { parseSlots, slotsForms, type SlotsAsked } from '../../gpu-worker/model/expert-slots.ts'
import { presetNames } from '../../gpu-worker/model/presets.ts'
import { profiles, type Profile } from '../../gpu-worker/model/profile.ts'
import { deviceNames } from './devices.ts'
import { SEQUENCES_MAX } from './fit.ts'

export const HELP = `npm run --silent axle -- plan DIR | --preset NAME [options]

What a checkpoint takes of a machine, and how fast the machine can be at best.

  DIR                checkpoint folder; its weights are not read
  --preset NAME      a published model instead, nothing to download: ${presetNames.join(', ')}
  --device A,B       devices to compare, a column each: ${deviceNames.slice(0, -1).join(', ')};
                     this (when absent): measured here, in a few seconds
  --count N          devices of a kind that hold the model together, each a range of layers (1)
  --experts FORMAT   routed experts as bf16, fp8, int8 or int4
  --rest FORMAT      attention, dense MLPs and shared experts as bf16 or int8
                     (neither: as stored, a preset as published; one of them: the other bf16)
  --group N          columns that share a scale in int4 and int8: 32, 64 or 128 (32)
  --context TOKENS   longest sequence, prompt and answer together (what the model was made for)
  --sequences N      sequences decoded together (1)
  --profile NAME     kv16: cache in 16 bits; exact: in 32 (kv16)
  --expert-slots N   so many of a layer's routed experts, or a share as 50%, lie on the GPU at a
                     time; the others wait in host memory (all)
  --memory BYTES     memory of "this" GPU, as 24GB or 24GiB: WebGPU does not tell it
                     (AXLE_GPU_BYTES; for a CPU its RAM)
  --json             the plan as one JSON object: bytes, seconds, operations`

export interface PlanArguments {
  readonly source:
    | { readonly kind: 'folder'; readonly dir: string }
    | { readonly kind: 'preset'; readonly name: string }
  readonly devices: readonly string[]
  readonly count: number
  /** Null: as stored. */
  readonly mix: CheckpointMix | null
  /** Null: the model's own. */
  readonly contextTokens: number | null
  readonly sequences: number
  readonly profile: Profile
  /** Null: slots for all. */
  readonly expertSlots: SlotsAsked | null
  /** Of "this"; null: not said. */
  readonly memoryBytes: number | null
  readonly json: boolean
}

const EXPERTS: readonly ExpertStorage[] = ['bf16', 'fp8', 'int8', 'int4']
const REST: readonly RestStorage[] = ['bf16', 'int8']
const GROUPS = ['32', '64', '128'] as const
const COUNT_MAX = 1024
const DEVICES_MAX = 8
/** Beyond any config: what a context is bounded by before the model is known. */
const TOKENS_MAX = 1 << 24

/** Null when help is asked for. Throws an Error that says what was expected. */
export function parsePlanArguments(args: readonly string[], environment: NodeJS.ProcessEnv): PlanArguments | null {
  const text = { type: 'string' } as const
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      preset: text,
      device: text,
      count: text,
      experts: text,
      rest: text,
      group: text,
      context: text,
      sequences: text,
      profile: text,
      'expert-slots': text,
      memory: text,
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
    allowPositionals: true,
    strict: true,
  })
  if (values.help) return null
  const devices = deviceList(values.device ?? 'this')
  if (values.memory !== undefined && !devices.includes('this')) {
    throw new Error('--memory is for --device this: the others bring their own')
  }
  return {
    source: sourceOf(values.preset, positionals),
    devices,
    count: whole('--count', values.count ?? '1', COUNT_MAX),
    mix: mixOf(values.experts, values.rest, values.group),
    contextTokens: values.context === undefined ? null : whole('--context', values.context, TOKENS_MAX),
    sequences: whole('--sequences', values.sequences ?? '1', SEQUENCES_MAX),
    profile: oneOf('--profile', values.profile ?? 'kv16', profiles),
    expertSlots: slotsAsked(values['expert-slots']),
    memoryBytes: memoryOfThis(values.memory, environment['AXLE_GPU_BYTES']),
    json: values.json,
  }
}

function sourceOf(preset: string | undefined, positionals: readonly string[]): PlanArguments['source'] {
  const [dir, extra] = positionals
  if (extra !== undefined) throw new Error(`Expected one checkpoint folder, got ${positionals.join(' and ')}`)
  if (preset !== undefined && dir !== undefined) {
    throw new Error(`Expected a checkpoint folder or --preset, got both: ${dir} and ${preset}`)
  }
  if (preset !== undefined) return { kind: 'preset', name: oneOf('--preset', preset, presetNames) }
  if (dir === undefined) throw new Error(`Which model? Give a checkpoint folder or --preset\n\n${HELP}`)
  return { kind: 'folder', dir }
}

function deviceList(list: string): string[] {
  const names = list.split(',').map((name) => oneOf('--device', name.trim(), deviceNames))
  if (new Set(names).size < names.length) throw new Error(`--device: expected each device once, got ${list}`)
  if (names.length > DEVICES_MAX) throw new Error(`--device: expected at most ${DEVICES_MAX}, got ${names.length}`)
  return names
}

function mixOf(experts: string | undefined, rest: string | undefined, group: string | undefined): CheckpointMix | null {
  if (experts === undefined && rest === undefined) {
    if (group !== undefined) throw new Error('--group goes with --experts int4, --experts int8 or --rest int8')
    return null
  }
  const mix = {
    experts: oneOf('--experts', experts ?? 'bf16', EXPERTS),
    rest: oneOf('--rest', rest ?? 'bf16', REST),
    group: Number(oneOf('--group', group ?? '32', GROUPS)),
    layout: 'fused',
  } as const
  const hasGroups = mix.experts === 'int4' || mix.experts === 'int8' || mix.rest === 'int8'
  if (group !== undefined && !hasGroups) {
    throw new Error('--group goes with int4 or int8: bf16 has no scales, fp8 has one for each block of 128 × 128')
  }
  return mix
}

function memoryOfThis(given: string | undefined, environment: string | undefined): number | null {
  if (given !== undefined) return bytesOf('--memory', given)
  return environment === undefined || environment === '' ? null : bytesOf('AXLE_GPU_BYTES', environment)
}

function bytesOf(name: string, text: string): number {
  const bytes = parseBytes(text)
  if (bytes === null) throw new Error(`${name}: expected ${byteSizeForms}, got ${text}`)
  return bytes
}

function slotsAsked(text: string | undefined): SlotsAsked | null {
  if (text === undefined) return null
  const slots = parseSlots(text)
  if (slots === null) throw new Error(`--expert-slots: expected ${slotsForms}, got ${text}`)
  return slots
}

function whole(name: string, text: string, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > max) {
    throw new Error(`${name}: expected a whole number, 1 … ${max.toLocaleString('en')}, got ${text}`)
  }
  return value
}

function oneOf<T extends string>(name: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((value) => value === text)
  if (found === undefined) throw new Error(`${name}: expected one of ${allowed.join(', ')}, got ${text || 'nothing'}`)
  return found
}
