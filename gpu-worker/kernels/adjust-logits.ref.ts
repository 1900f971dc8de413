/** What a request wants of its logits, in f64: repetition, frequency, presence, bias; −Infinity where it allows no token. */

/** Batch's SamplerRow, as far as it changes logits. */
export interface AdjustFields {
  readonly index: number
  readonly penalties?: {
    readonly presence: number
    readonly frequency: number
    readonly repetition: number
    readonly promptTokens: ReadonlySet<number>
    readonly answerCounts: ReadonlyMap<number, number>
  }
  readonly logitBias?: ReadonlyMap<number, number>
  readonly allowed?: Uint32Array
  readonly minTokens?: number
  readonly stopTokenIds?: readonly number[]
}

export function adjustLogitsReference(logits: ArrayLike<number>, fields: AdjustFields): number[] {
  const { index, penalties, logitBias, allowed, minTokens = 0, stopTokenIds = [] } = fields
  return Array.from(logits, (logit, id) => {
    const isMasked = allowed !== undefined && (((allowed[id >> 5] ?? 0) >>> (id & 31)) & 1) === 0
    if (isMasked || (index < minTokens && stopTokenIds.includes(id))) return -Infinity
    let value = logit
    if (penalties !== undefined) {
      const count = penalties.answerCounts.get(id) ?? 0
      if (count > 0 || penalties.promptTokens.has(id)) {
        value = value > 0 ? value / penalties.repetition : value * penalties.repetition
      }
      if (count > 0) value -= penalties.frequency * count + penalties.presence
    }
    return value + (logitBias?.get(id) ?? 0)
  })
}
