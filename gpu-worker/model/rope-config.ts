/**
 * Rotary position embedding as config.json describes it, in either spelling, reduced to one.
 *
 *     rope_theta: 10000, rope_scaling: {type: "yarn", factor, …}      the older spelling (null: plain)
 *     rope_parameters: {rope_type: "yarn", rope_theta: 10000, …}      the newer
 *
 * Both at once must say the same. It does not compute a frequency.
 */
import { z } from 'zod'
import { CheckpointError, quote } from './checkpoint-error.ts'
import { describeProblems, only } from './config-fields.ts'

export interface Rope {
  readonly theta: number
  /** Pairs are (x0, x1), (x2, x3), … of a head; otherwise (x0, x½), (x1, x½₊₁), … */
  readonly interleaved: boolean
  readonly scaling: { readonly kind: 'none' } | YarnScaling
}

/** YaRN as transformers reads it (`_compute_yarn_parameters`). */
export interface YarnScaling {
  readonly kind: 'yarn'
  readonly factor: number
  readonly originalContextTokens: number
  readonly betaFast: number
  readonly betaSlow: number
  /** 0 when the config does not name it: both rules treat the two alike. */
  readonly mscale: number
  readonly mscaleAllDim: number
  /** Overrides the factor on cos and sin that mscale and mscaleAllDim give; null when the config leaves it to them. */
  readonly attentionFactor: number | null
}

const NUMBER_MAX = 1e12
const positive = z.number().positive().max(NUMBER_MAX)
/** Absent, null and 0 are one: the reference takes its default for whatever Python calls false. */
const absentIs = (value: number): z.ZodType<number> =>
  z
    .number()
    .min(0)
    .max(1e6)
    .nullish()
    .transform((got) => (got === null || got === undefined || got === 0 ? value : got))

const shared = { rope_theta: positive.optional(), partial_rotary_factor: only(1) }
const plain = z.strictObject({ ...shared, rope_type: z.literal('default') })
const yarn = z.strictObject({
  ...shared,
  rope_type: z.literal('yarn'),
  factor: z.number().min(1).max(1e6),
  original_max_position_embeddings: z
    .int()
    .min(1)
    .max(2 ** 31),
  beta_fast: absentIs(32),
  beta_slow: absentIs(1),
  mscale: absentIs(0),
  mscale_all_dim: absentIs(0),
  attention_factor: positive.nullish(),
  // The reference reads null as false here.
  truncate: z.literal(true).optional(),
})

/** Throws a CheckpointError for config.json that names the field. */
export function parseRope(raw: {
  readonly rope_interleave: boolean
  readonly rope_theta?: number | undefined
  readonly rope_scaling?: unknown
  readonly rope_parameters?: unknown
}): Rope {
  const spellings: [field: string, value: unknown][] = []
  const hasParameters = raw.rope_parameters !== undefined && raw.rope_parameters !== null
  const hasScaling = raw.rope_scaling !== undefined && raw.rope_scaling !== null
  if (hasParameters) spellings.push(['rope_parameters', raw.rope_parameters])
  if (hasScaling) spellings.push(['rope_scaling', raw.rope_scaling])
  if (spellings.length === 0) spellings.push(['rope_scaling', { rope_type: 'default' }])
  const [first, second] = spellings.map(([field, value]) => parseOne(field, value, raw.rope_theta, raw.rope_interleave))
  if (!first) throw refuse('rope_parameters: missing')
  if (second && JSON.stringify(first) !== JSON.stringify(second)) {
    throw refuse('rope_scaling: expected the same as rope_parameters, got another')
  }
  return first
}

function parseOne(field: string, value: unknown, outerTheta: number | undefined, interleaved: boolean): Rope {
  const named = withOneTypeName(field, value)
  const parsed = (named['rope_type'] === 'default' ? plain : yarn).safeParse(named)
  if (!parsed.success) throw refuse(`${field}: ${describeProblems(parsed.error)}`)
  const rope = parsed.data
  const theta = rope.rope_theta ?? outerTheta
  if (theta === undefined) throw refuse('rope_theta: missing')
  // 1 has no logarithm to part frequencies by, and powers of less overflow: frequencies would not be finite.
  if (!(theta > 1 && theta <= NUMBER_MAX)) {
    throw refuse(`rope_theta: expected a number above 1 and at most ${NUMBER_MAX}, got ${quote(theta)}`)
  }
  if (outerTheta !== undefined && outerTheta !== theta) {
    throw refuse(`rope_theta: expected ${theta} (${field}), got ${quote(outerTheta)}`)
  }
  if (rope.rope_type === 'default') return { theta, interleaved, scaling: { kind: 'none' } }
  const scaling: YarnScaling = {
    kind: 'yarn',
    factor: rope.factor,
    originalContextTokens: rope.original_max_position_embeddings,
    betaFast: rope.beta_fast,
    betaSlow: rope.beta_slow,
    mscale: rope.mscale,
    mscaleAllDim: rope.mscale_all_dim,
    attentionFactor: rope.attention_factor ?? null,
  }
  return { theta, interleaved, scaling }
}

/** `type` is the old name of `rope_type`; both may stand there with one value. */
function withOneTypeName(field: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(`${field}: expected an object`)
  const { type, ...rest }: Record<string, unknown> = { ...value }
  const ropeType = rest['rope_type'] ?? type
  if (type !== undefined && type !== ropeType)
    throw refuse(`${field}.type: expected ${quote(ropeType)}, got ${quote(type)}`)
  if (ropeType !== 'default' && ropeType !== 'yarn') {
    throw refuse(`${field}.rope_type: not supported yet: ${quote(ropeType)} (only "default" and "yarn")`)
  }
  return { ...rest, rope_type: ropeType }
}

function refuse(problem: string): CheckpointError {
  return new CheckpointError('config.json', problem)
}
