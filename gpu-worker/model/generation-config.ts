/**
 * How a model likes to be sampled, out of generation_config.json: the defaults behind a request's nulls, and end tokens.
 *
 * A field that would change the output and that the sampler does not know is refused. It does not know requests.
 */
import { z } from 'zod'
import { CheckpointError } from './checkpoint-error.ts'
import { describeProblems, harmless, only } from './config-fields.ts'

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

const fields = z.strictObject({
  // The reference samples only where do_sample is true; its default is false, but most files leave it out and mean true.
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  eos_token_id: z.union([tokenId, z.array(tokenId).max(64)]).nullish(),

  typical_p: only(1),
  epsilon_cutoff: only(0),
  eta_cutoff: only(0),
  repetition_penalty: only(1),
  encoder_repetition_penalty: only(1),
  length_penalty: only(1),
  no_repeat_ngram_size: only(0),
  num_beams: only(1),
  num_beam_groups: only(1),
  diversity_penalty: only(0),
  renormalize_logits: only(false),

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
  if (!parsed.success) throw new CheckpointError(GENERATION_FILE, describeProblems(parsed.error))
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
