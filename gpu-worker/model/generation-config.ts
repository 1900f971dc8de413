/**
 * How a model likes to be sampled, out of generation_config.json: the defaults behind a request's nulls, and end tokens.
 *
 * A field that would change the output and that the sampler does not know is refused. It does not know requests.
 */
import { z } from 'zod'
import { CheckpointError } from './checkpoint-error.ts'
import { describeProblems, harmless, only, onlyEmpty } from './config-fields.ts'

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
  encoder_no_repeat_ngram_size: only(0),
  guidance_scale: only(1),
  min_length: only(0),
  min_new_tokens: only(0),
  num_return_sequences: only(1),
  remove_invalid_values: only(false),
  token_healing: only(false),
  top_h: only(1),
  penalty_alpha: only(0),
  bad_words_ids: onlyEmpty,
  begin_suppress_tokens: onlyEmpty,
  sequence_bias: onlyEmpty,
  stop_strings: onlyEmpty,
  suppress_tokens: onlyEmpty,

  // How it is computed, what else is given back, and how long an answer is when nobody says: requests do, or the context.
  _from_model_config: harmless,
  bos_token_id: harmless,
  cache_config: harmless,
  cache_implementation: harmless,
  compile_config: harmless,
  decoder_start_token_id: harmless,
  disable_compile: harmless,
  early_stopping: harmless,
  low_memory: harmless,
  max_length: harmless,
  max_new_tokens: harmless,
  output_attentions: harmless,
  output_hidden_states: harmless,
  output_logits: harmless,
  output_scores: harmless,
  pad_token_id: harmless,
  prefill_chunk_size: harmless,
  return_dict_in_generate: harmless,
  transformers_version: harmless,
  use_cache: harmless,
})

/** `undefined` stands for no file: plain sampling. Throws CheckpointError naming the field. */
export function parseGenerationConfig(json: unknown = {}): GenerationConfig {
  const parsed = fields.safeParse(withoutNulls(json))
  if (!parsed.success) throw new CheckpointError(GENERATION_FILE, describeProblems(parsed.error))
  const raw = parsed.data
  if (raw.do_sample === true && raw.temperature === 0) {
    throw new CheckpointError(GENERATION_FILE, 'do_sample is true, yet temperature is 0: one of them must go')
  }
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

/** The reference writes every field it knows, null where nothing was said; a null of any name says nothing. */
function withoutNulls(json: unknown): unknown {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return json
  return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null))
}
