/**
 * How a model likes to be sampled, out of generation_config.json: the defaults behind a request's nulls, and end tokens.
 *
 * A field that would change the output and that the sampler does not know is refused. It does not know requests.
 */
import { z } from 'zod'
import { CheckpointError, quote } from './checkpoint-error.ts'

export interface GenerationDefaults {
  /** 0 is greedy. */
  readonly temperature: number
  readonly topP: number
  /** 0 keeps all. */
  readonly topK: number
  readonly minP: number
}

export interface GenerationConfig {
  readonly defaults: GenerationDefaults
  readonly eosTokenIds: readonly number[]
}

export const GENERATION_FILE = 'generation_config.json'

const tokenId = z.int().min(0)
const harmless = z.unknown().optional()
const neutral = (value: number | boolean): z.ZodOptional =>
  z
    .unknown()
    .refine((got) => got === null || got === value, {
      error: (issue) => `not supported yet: ${quote(issue.input)} (only ${quote(value)})`,
    })
    .optional()

const fields = z.strictObject({
  // The reference samples only where do_sample is true; its default is false, but most files leave it out and mean true.
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  eos_token_id: z.union([tokenId, z.array(tokenId).max(64)]).nullish(),

  typical_p: neutral(1),
  epsilon_cutoff: neutral(0),
  eta_cutoff: neutral(0),
  repetition_penalty: neutral(1),
  encoder_repetition_penalty: neutral(1),
  length_penalty: neutral(1),
  no_repeat_ngram_size: neutral(0),
  num_beams: neutral(1),
  num_beam_groups: neutral(1),
  diversity_penalty: neutral(0),
  renormalize_logits: neutral(false),

  _from_model_config: harmless,
  bos_token_id: harmless,
  max_length: harmless,
  max_new_tokens: harmless,
  pad_token_id: harmless,
  transformers_version: harmless,
  use_cache: harmless,
})

/** `undefined` stands for no file: plain sampling. Throws CheckpointError naming the field. */
export function parseGenerationConfig(json: unknown = {}): GenerationConfig {
  const parsed = fields.safeParse(json)
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) =>
      issue.code === 'unrecognized_keys'
        ? `unknown field ${issue.keys.map(quote).join(', ')}`
        : `${issue.path.join('.')}: ${issue.message}`,
    )
    throw new CheckpointError(GENERATION_FILE, issues.join('; '))
  }
  const raw = parsed.data
  const eos = raw.eos_token_id ?? []
  return {
    defaults: {
      temperature: raw.do_sample === false ? 0 : (raw.temperature ?? 1),
      topP: raw.top_p ?? 1,
      // Absent means all, as serving engines read it; the reference's own default of 50 is not written in files.
      topK: Math.max(0, raw.top_k ?? 0),
      minP: raw.min_p ?? 0,
    },
    eosTokenIds: typeof eos === 'number' ? [eos] : eos,
  }
}
