/**
 * A step as data: a flat list of rows, one token of one sequence at one position each, grouped by sequence.
 *
 * Prefill and decode are the same thing here: a decode is a group of one row. No GPU, no text, no time.
 */

declare const blockIdBrand: unique symbol
/** A KV block of the pool, 0 … blockCount − 1. */
export type BlockId = number & { readonly [blockIdBrand]: true }

/** How to choose the token after a sequence's last row. A pure function of (logits, these fields). */
export interface SamplerRow {
  /** 0 is greedy: the highest logit, the lowest id among equals. */
  readonly temperature: number
  /** Keep the k highest logits; 0 keeps all. */
  readonly topK: number
  /** Keep the smallest set of most likely tokens whose probability reaches this; 1 keeps all. */
  readonly topP: number
  /** Keep tokens at least this fraction as likely as the likeliest; 0 keeps all. */
  readonly minP: number
  /** Two u32 words of the request's seed. Randomness depends on (seed, index) alone, never on generator state. */
  readonly seed: readonly [number, number]
  /** Index of the token to choose, counted from the first token of the answer. */
  readonly index: number
  /** Take this token whatever the logits say, if they are finite. */
  readonly forcedToken?: number
  readonly penalties?: Penalties
  /** Added to the logits of these tokens, behind penalties. */
  readonly logitBias?: ReadonlyMap<number, number>
  /** A bit a token, the lowest first: only tokens whose bit is 1 may be chosen. u32 [⌈vocab / 32⌉], lent for the step. */
  readonly allowed?: Uint32Array
  /** Below this index none of `stopTokenIds` may be chosen. */
  readonly minTokens?: number
  readonly stopTokenIds?: readonly number[]
  /** Tell the log probability of the token chosen and of so many of the likeliest, at most 20; absent: none. */
  readonly logprobCount?: number
}

/** Against repeating oneself: logits of tokens that stand in prompt or answer. The collections are lent for the step. */
export interface Penalties {
  /** Subtracted once from what stands in the answer. */
  readonly presence: number
  /** Subtracted for each time it stands there. */
  readonly frequency: number
  /** Divides a positive logit of what stands in prompt or answer, multiplies another; 1 changes nothing. */
  readonly repetition: number
  /** May lack tokens where `repetition` is 1. */
  readonly promptTokens: ReadonlySet<number>
  /** How often each token stands in the answer: at least once. */
  readonly answerCounts: ReadonlyMap<number, number>
}

/** Consecutive rows of one sequence: `tokenIds[i]` stands at position `start + i`. */
export interface SequenceRows {
  readonly tokenIds: readonly number[]
  readonly start: number
  /**
   * The sequence's KV blocks in order; covers positions 0 … start + tokenIds.length − 1, and may hold more.
   * Full ones may be those of other groups too, even when a group before this one fills them in this very step.
   * Lent until `run` returns its promise: the engine changes it afterwards.
   */
  readonly blocks: readonly BlockId[]
  /** Set when the last row's logits choose the next token; null in mid-prefill. */
  readonly sampler: SamplerRow | null
  /**
   * Position in the batch given before this one, whose results may not be known yet: what is sampled there is this
   * group's one token, and `tokenIds` holds a 0 in its place. Only for Runners that overlap steps.
   */
  readonly fedFrom?: number
  /**
   * Tell each row's log probability of its given next token, and of the likeliest `count`, at most 20. One next token a
   * row, the last may go without. Such a step runs alone.
   */
  readonly promptLogprobs?: { readonly count: number; readonly nextTokenIds: readonly number[] }
}

export interface Batch {
  readonly sequences: readonly SequenceRows[]
  /** Read back what a step normally leaves on the GPU. For verification only. */
  readonly capture?: Capture
}

export interface Capture {
  /** 'sampled': with the step itself, so that such steps may overlap. 'all' computes them again, a few rows at a time. */
  readonly logits: 'none' | 'sampled' | 'all'
  readonly experts: boolean
}

/** Rows of a step. */
export function rowCount(batch: Batch): number {
  return batch.sequences.reduce((count, sequence) => count + sequence.tokenIds.length, 0)
}
