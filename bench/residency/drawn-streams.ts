/**
 * Streams of tokens as a layer's router sees them: residual vectors that share what tokens of real text share.
 *
 *     x = popular · p + topic · t + request · r + token · n,   each of p, t, r, n uniform noise of variance 1
 *
 * p is the same for all, t for the requests of a topic, r for the tokens of a request. A router is linear, so its logits
 * mix in the same way; how much two tokens' experts then have in common is measured, not assumed. Knows no model.
 */
import { hashedWord, rowSeed, seedOf } from '../k1-layer/counter-hash.ts'

/** Parts of the variance, in all 1; the token has the rest. */
export interface StreamKind {
  readonly name: string
  readonly popular: number
  readonly topic: number
  readonly request: number
}

/** A token of a stream that is under way. */
export interface StreamToken {
  /** Counts all requests: a new one is another cache. */
  readonly request: number
  readonly position: number
  readonly x: Float32Array
}

const TOPICS = 10
/** Tokens of a request: this many and up to so many more. */
const LENGTH = { least: 64, more: 192 }

/** By step, a token of each stream; a request that ends is followed by the next. */
export function drawStreams(kind: StreamKind, streamCount: number, stepCount: number, width: number): StreamToken[][] {
  const seed = seedOf(kind.name)
  const vector = (name: string, index: number): Float32Array => noise(rowSeed(seedOf(name), index), width)
  const popular = vector('popular', 0)
  const topics = Array.from({ length: TOPICS }, (_, i) => vector('topic', i))
  let requests = 0
  const begin = () => {
    const request = requests++
    const word = hashedWord(seed, request)
    const topic = topics[word % TOPICS] ?? popular
    return {
      request,
      topic,
      own: vector('request', request),
      length: LENGTH.least + ((word >>> 8) % LENGTH.more),
      position: 0,
    }
  }
  const token = 1 - kind.popular - kind.topic - kind.request
  const weights = [kind.popular, kind.topic, kind.request, token].map((part) => Math.sqrt(part))
  const streams = Array.from({ length: streamCount }, begin)
  return Array.from({ length: stepCount }, (_, step) =>
    streams.map((stream, i) => {
      const live = stream.position < stream.length ? stream : begin()
      streams[i] = live
      const parts = [popular, live.topic, live.own, vector('token', step * streamCount + i)]
      const x = new Float32Array(width)
      for (const [j, part] of parts.entries()) {
        const weight = weights[j] ?? 0
        for (let k = 0; k < width; k++) x[k] = (x[k] ?? 0) + weight * (part[k] ?? 0)
      }
      const { request, position } = live
      live.position += 1
      return { request, position, x }
    }),
  )
}

/** f32 [width], uniform in ±√3. */
function noise(seed: number, width: number): Float32Array {
  return Float32Array.from({ length: width }, (_, i) => (hashedWord(seed, i) / 2 ** 31 - 1) * Math.sqrt(3))
}
