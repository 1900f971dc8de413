/**
 * What `axle generate` was asked for: its options, checked, and its prompt. It knows neither model nor engine.
 */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { topKMax } from '../../contract/limits.ts'
import { byteSizeForms, parseBytes } from '../../gpu-worker/model/byte-size.ts'
import { parseSlots, slotsForms, type SlotsAsked } from '../../gpu-worker/model/expert-slots.ts'
import { profiles, type Profile } from '../../gpu-worker/model/profile.ts'

export const HELP = `npm run --silent axle -- generate DIR [PROMPT]

Streams the model's answer to one user message. Without PROMPT the message is read from standard input. The answer goes
to standard output, thinking before it (dim in a terminal, between <think> and </think> otherwise); everything else to
standard error. The same seed gives the same answer on the same machine, as it would through the API.

  --model DIR          instead of the first argument, which is then the prompt
  --system TEXT        a system message before the user's
  --think              let the model think first
  --max-tokens N       thinking and answer together (what the context holds)
  --seed N             an integer of 64 bits (random, and printed)
  --temperature T      0 is greedy      (this and the next three: as the model's generation_config.json says)
  --top-p P            above 0, at most 1
  --top-k K            0 keeps all
  --min-p P            0 to 1
  --profile NAME       numerics: ${profiles.join(' or ')} (exact)
  --gpu-bytes B        of GPU memory, at most, as 70GiB
  --kv-bytes B         of it for the KV cache, at most
  --expert-slots N     of a layer's routed experts so many, or a share as 50%, lie on the GPU at a time (all)
  --toggles A,B        Dawn toggles to enable (none)

Ctrl-C ends the answer where it is; exit code 130.`

export interface GenerateRequest {
  readonly modelDir: string
  /** null: on standard input. */
  readonly prompt: string | null
  readonly system: string | null
  readonly think: boolean
  readonly maxTokens: number | null
  readonly seed: bigint
  readonly temperature: number | null
  readonly topP: number | null
  readonly topK: number | null
  readonly minP: number | null
  readonly profile: Profile
  readonly gpuBytesMax: number | null
  readonly kvBytesMax: number | null
  readonly expertSlots: SlotsAsked | null
  readonly toggles: readonly string[]
}

const TEMPERATURE_MAX = 100

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const options = {
  model: text,
  system: text,
  think: flag,
  'max-tokens': text,
  seed: text,
  temperature: text,
  'top-p': text,
  'top-k': text,
  'min-p': text,
  profile: text,
  'gpu-bytes': text,
  'kv-bytes': text,
  'expert-slots': text,
  toggles: text,
  help: { type: 'boolean', short: 'h' },
} as const

/** Null when help was asked for. Throws TypeError or RangeError naming the option. */
export function parseRequest(args: string[]): GenerateRequest | null {
  const { values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: true })
  if (values.help === true) return null
  const [modelDir, prompt, ...others] = values.model === undefined ? positionals : [values.model, ...positionals]
  if (modelDir === undefined) throw new TypeError(`DIR is missing\n\n${HELP}`)
  if (others.length > 0) throw new TypeError(`Expected one PROMPT, got ${1 + others.length}: put it in quotes`)
  const { profile: profileName = 'exact' } = values
  const profile = profiles.find((name) => name === profileName)
  if (profile === undefined) throw new RangeError(`--profile: expected ${profiles.join(' or ')}, got ${profileName}`)
  return {
    modelDir,
    prompt: prompt ?? null,
    system: values.system ?? null,
    think: values.think === true,
    maxTokens: number('--max-tokens', values['max-tokens'], 'a whole number above 0', (n) => n >= 1 && isWhole(n)),
    seed: seedOf(values.seed),
    temperature: number(
      '--temperature',
      values.temperature,
      `0 to ${TEMPERATURE_MAX}`,
      (n) => n >= 0 && n <= TEMPERATURE_MAX,
    ),
    topP: number('--top-p', values['top-p'], 'above 0, at most 1', (n) => n > 0 && n <= 1),
    topK: number('--top-k', values['top-k'], 'a whole number, 0 or more', (n) => n >= 0 && n <= topKMax && isWhole(n)),
    minP: number('--min-p', values['min-p'], '0 to 1', (n) => n >= 0 && n <= 1),
    profile,
    gpuBytesMax: bytes('--gpu-bytes', values['gpu-bytes']),
    kvBytesMax: bytes('--kv-bytes', values['kv-bytes']),
    expertSlots: slots(values['expert-slots']),
    toggles: (values.toggles ?? '').split(',').filter((toggle) => toggle !== ''),
  }
}

function number(
  name: string,
  value: string | undefined,
  expected: string,
  isFine: (value: number) => boolean,
): number | null {
  if (value === undefined) return null
  const parsed = value.trim() === '' ? Number.NaN : Number(value)
  if (!Number.isFinite(parsed) || !isFine(parsed)) throw new RangeError(`${name}: expected ${expected}, got ${value}`)
  return parsed
}

function isWhole(value: number): boolean {
  return Number.isSafeInteger(value)
}

/** Drawn below 2⁴⁸ where none is given: short enough to be typed again. */
function seedOf(value: string | undefined): bigint {
  if (value === undefined) return BigInt(randomBytes(6).readUIntBE(0, 6))
  const seed = /^-?\d{1,20}$/.test(value) ? BigInt(value) : null
  if (seed === null || BigInt.asIntN(64, seed) !== seed) {
    throw new RangeError(`--seed: expected an integer of 64 bits, got ${value}`)
  }
  return seed
}

function bytes(name: string, value: string | undefined): number | null {
  if (value === undefined) return null
  const parsed = parseBytes(value)
  if (parsed === null) throw new RangeError(`${name}: expected ${byteSizeForms}, got ${value}`)
  return parsed
}

function slots(value: string | undefined): SlotsAsked | null {
  if (value === undefined) return null
  const parsed = parseSlots(value)
  if (parsed === null) throw new RangeError(`--expert-slots: expected ${slotsForms}, got ${value}`)
  return parsed
}
