/**
 * One expert layer of the A.X K1 family in f64: plain loops over the paper's formulas, from residual stream to residual
 * stream. It shares with the engine the config and the weights' hash, no code of a kernel.
 *
 *     h = x + Attention(norm(x));  y = h + norm(Σ_rank weight · Expert(n) + Shared(n)),  n = norm(h)
 *
 * Attention is computed the long way round, with each head's keys and values made from the latent. RoPE rounds where
 * transformers does (frequency, and position · frequency, in f32): at position 100,000 that decides the angle.
 */
import { strict as assert } from 'node:assert'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { ropePairs } from './rope-reference.ts'
import type { HashedWeights } from './hashed-weights.ts'

/** The cached half of a token: latent after its norm, and the shared key part, turned to its position. */
export interface CacheEntry {
  readonly latent: Float64Array
  readonly key: Float64Array
}

/** A token to compute whole. */
export interface LayerToken {
  /** f64 [hidden] */
  readonly x: Float64Array
  readonly position: number
  /** What each position up to its own sees in the cache: distinct entries, and how many positions hold each. */
  readonly context: readonly { readonly entry: CacheEntry; readonly count: number }[]
}

export interface LayerResult {
  /** f64 [hidden] */
  readonly y: Float64Array
  /** In rank order. */
  readonly experts: readonly number[]
  /** By how much the nearest choice among experts was won. */
  readonly margin: number
}

export class LayerReference {
  readonly #config: ModelConfig
  readonly #weights: HashedWeights
  readonly #prefix: string

  constructor(config: ModelConfig, weights: HashedWeights, layer: number) {
    assert(config.qLoraRank !== null && config.rope.interleaved && config.postMlpNorm, "Of A.X K1's shape")
    this.#config = config
    this.#weights = weights
    this.#prefix = `model.layers.${layer}`
  }

  /** What tokens of these inputs leave in the cache. */
  cacheEntries(tokens: readonly { readonly x: Float64Array; readonly position: number }[]): CacheEntry[] {
    const { kvLoraRank, qkRopeHeadDim } = this.#config
    const normed = this.#norms(
      'input_layernorm',
      tokens.map(({ x }) => x),
    )
    const projected = this.#products('self_attn.kv_a_proj_with_mqa', normed, kvLoraRank + qkRopeHeadDim)
    const latents = this.#norms(
      'self_attn.kv_a_layernorm',
      projected.map((row) => row.subarray(0, kvLoraRank)),
    )
    return tokens.map(({ position }, t) => ({
      latent: at(latents, t),
      key: this.#turned(at(projected, t).subarray(kvLoraRank), position),
    }))
  }

  run(tokens: readonly LayerToken[]): LayerResult[] {
    const normed = this.#norms(
      'input_layernorm',
      tokens.map(({ x }) => x),
    )
    const attended = this.#attention(tokens, normed)
    const middle = tokens.map(({ x }, t) => x.map((value, i) => value + (at(attended, t)[i] ?? NaN)))
    const inputs = this.#norms('post_attention_layernorm', middle)
    const routes = this.#routes(inputs)
    const mixed = this.#experts(inputs, routes)
    const mlp = this.#norms('post_mlp_layernorm', mixed)
    return routes.map(({ experts, margin }, t) => ({
      y: at(middle, t).map((value, i) => value + (at(mlp, t)[i] ?? NaN)),
      experts,
      margin,
    }))
  }

  #attention(tokens: readonly LayerToken[], normed: readonly Float64Array[]): Float64Array[] {
    const { headCount, qLoraRank, qkNopeHeadDim: nope, qkRopeHeadDim: rope, vHeadDim, hiddenSize } = this.#config
    const low = this.#norms('self_attn.q_a_layernorm', this.#products('self_attn.q_a_proj', normed, qLoraRank ?? 0))
    const queries = this.#products('self_attn.q_b_proj', low, headCount * (nope + rope))
    const distinct = [...new Set(tokens.flatMap(({ context }) => context.map(({ entry }) => entry)))]
    const latents = distinct.map(({ latent }) => latent)
    const values = tokens.map(() => new Float64Array(headCount * vHeadDim))
    for (let head = 0; head < headCount; head++) {
      const rows = nope + vHeadDim
      const keysAndValues = this.#products('self_attn.kv_b_proj', latents, rows, head * rows)
      const keyed = new Map(distinct.map((entry, i) => [entry, at(keysAndValues, i)]))
      tokens.forEach((token, t) => {
        const query = at(queries, t).subarray(head * (nope + rope), (head + 1) * (nope + rope))
        const turned = this.#turned(query.subarray(nope), token.position)
        this.#attend(token, query.subarray(0, nope), turned, keyed, at(values, t).subarray(head * vHeadDim))
      })
    }
    return this.#products('self_attn.o_proj', values, hiddenSize)
  }

  /** Softmax attention of one head: adds the mixed values to `target`. */
  #attend(
    { context }: LayerToken,
    nopeQuery: Float64Array,
    ropeQuery: Float64Array,
    keyed: ReadonlyMap<CacheEntry, Float64Array>,
    target: Float64Array,
  ): void {
    const { qkNopeHeadDim: nope, qkRopeHeadDim: rope, vHeadDim } = this.#config
    const heads = context.map(({ entry }) => keyed.get(entry) ?? new Float64Array())
    const scores = context.map(({ entry }, i) => {
      const sum = dot(nopeQuery, at(heads, i)) + dot(ropeQuery, entry.key)
      return sum / Math.sqrt(nope + rope)
    })
    const highest = scores.reduce((a, b) => Math.max(a, b))
    const weights = scores.map((score, i) => (context[i]?.count ?? NaN) * Math.exp(score - highest))
    const total = weights.reduce((a, b) => a + b)
    heads.forEach((head, i) => {
      for (let v = 0; v < vHeadDim; v++) {
        target[v] = (target[v] ?? NaN) + ((weights[i] ?? NaN) / total) * (head[nope + v] ?? NaN)
      }
    })
  }

  #routes(inputs: readonly Float64Array[]): { experts: number[]; shares: number[]; margin: number }[] {
    const { routedExpertCount } = this.#config
    return this.#products('mlp.gate', inputs, routedExpertCount).map((logits) => this.#route(logits))
  }

  /** Groups by the sum of their two best, then the best experts of the groups kept; no bias. */
  #route(logits: Float64Array): { experts: number[]; shares: number[]; margin: number } {
    const { routedExpertCount, groupCount, groupsPerToken, expertsPerToken } = this.#config
    const { normTopkProb, routedScalingFactor } = this.#config
    const scores = Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)))
    const groupSize = routedExpertCount / groupCount
    const groupScores = Array.from({ length: groupCount }, (_, g) => {
      const [first = NaN, second = NaN] = scores.slice(g * groupSize, (g + 1) * groupSize).toSorted((a, b) => b - a)
      return first + second
    })
    const groups = best(groupScores, groupsPerToken)
    const candidates = scores.map((score, e) => (groups.chosen.includes(Math.floor(e / groupSize)) ? score : 0))
    const { chosen, margin } = best(candidates, expertsPerToken)
    const kept = chosen.map((e) => scores[e] ?? NaN)
    const sum = normTopkProb ? kept.reduce((a, b) => a + b) : 1
    const shares = kept.map((score) => (score / sum) * routedScalingFactor)
    return { experts: chosen, shares, margin: Math.min(margin, groups.margin) }
  }

  /** Each expert's weights are made once, for all tokens that chose it. */
  #experts(
    inputs: readonly Float64Array[],
    routes: readonly { experts: number[]; shares: number[] }[],
  ): Float64Array[] {
    const { moeIntermediateSize: width, sharedExpertCount } = this.#config
    const sums = this.#mlp('mlp.shared_experts', inputs, width * sharedExpertCount)
    for (const expert of new Set(routes.flatMap(({ experts }) => experts))) {
      const members = routes.flatMap(({ experts, shares }, t) => {
        const rank = experts.indexOf(expert)
        return rank < 0 ? [] : [{ t, share: shares[rank] ?? NaN }]
      })
      const outputs = this.#mlp(
        `mlp.experts.${expert}`,
        members.map(({ t }) => at(inputs, t)),
        width,
      )
      members.forEach(({ t, share }, i) => {
        const sum = at(sums, t)
        at(outputs, i).forEach((value, k) => {
          sum[k] = (sum[k] ?? NaN) + share * value
        })
      })
    }
    return sums
  }

  #mlp(module: string, inputs: readonly Float64Array[], width: number): Float64Array[] {
    const gates = this.#products(`${module}.gate_proj`, inputs, width)
    const ups = this.#products(`${module}.up_proj`, inputs, width)
    const hidden = gates.map((gate, t) => gate.map((g, i) => (g / (1 + Math.exp(-g))) * (at(ups, t)[i] ?? NaN)))
    return this.#products(`${module}.down_proj`, hidden, this.#config.hiddenSize)
  }

  /** Rows [rowStart, rowStart + rowCount) of a module times each input. */
  #products(name: string, inputs: readonly Float64Array[], rowCount: number, rowStart = 0): Float64Array[] {
    const outputs = inputs.map(() => new Float64Array(rowCount))
    const row = new Float64Array(inputs[0]?.length ?? 0)
    for (let n = 0; n < rowCount; n++) {
      this.#weights.row(`${this.#prefix}.${name}`, rowStart + n, row)
      inputs.forEach((input, t) => {
        at(outputs, t)[n] = dot(input, row)
      })
    }
    return outputs
  }

  #norms(name: string, rows: readonly Float64Array[]): Float64Array[] {
    const weight = new Float64Array(rows[0]?.length ?? 0)
    this.#weights.row(`${this.#prefix}.${name}`, 0, weight)
    return rows.map((row) => {
      const root = Math.sqrt(dot(row, row) / row.length + this.#config.rmsNormEps)
      return row.map((value, i) => (value / root) * (weight[i] ?? NaN))
    })
  }

  /** Pairs (x0, x1), (x2, x3), … turned by the position's angles. */
  #turned(values: Float64Array, position: number): Float64Array {
    const turned = new Float64Array(values.length)
    ropePairs(this.#config, position).forEach(([cos, sin], pair) => {
      const [a = NaN, b = NaN] = values.subarray(2 * pair)
      turned[2 * pair] = a * cos - b * sin
      turned[2 * pair + 1] = b * cos + a * sin
    })
    return turned
  }
}

/** Σ a · b over the length of `a`. */
function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? NaN) * (b[i] ?? NaN)
  return sum
}

/** The `count` highest, highest first, the lower index first among equals; and the gap to the next. */
function best(scores: readonly number[], count: number): { readonly chosen: number[]; readonly margin: number } {
  const order = scores.map((_, i) => i).toSorted((a, b) => (scores[b] ?? NaN) - (scores[a] ?? NaN) || a - b)
  const score = (rank: number): number => scores[order[rank] ?? -1] ?? -Infinity
  const gaps = Array.from({ length: count }, (_, rank) => score(rank) - score(rank + 1))
  return { chosen: order.slice(0, count), margin: Math.min(...gaps) }
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index]
  assert(item !== undefined)
  return item
}
