/**
 * A Runner without a model, deterministic and suspicious: the token it samples is a pure function of (seed, index),
 * and it keeps a paged KV that it reads back in full, so that a wrong block table fails the step instead of a sentence.
 *
 * It does not know sequences, the engine or time: a step takes as long as the injected `wait` says.
 * It stands in tests of policy, queue and gateway, never behind `npm start`.
 */
import assert from 'node:assert/strict'
import { type Batch, type BlockId, rowCount, type SequenceRows } from '../gpu-worker/engine/batch.ts'
import type { Runner, RunnerLimits, Sampled, StepResult, TokenLogProb } from '../gpu-worker/engine/runner.ts'

export type Seed = readonly [number, number]

export interface FakeRunnerOptions {
  readonly limits?: Partial<RunnerLimits>
  /** Token ids to choose from; every id but `stopTokenId` if absent. */
  readonly vocabulary?: readonly number[]
  /** What is sampled at the index that `stopIndex` names. */
  readonly stopTokenId?: number
  /** Answer index at which a seed's answer stops; null: never. */
  readonly stopIndex?: (seed: Seed) => number | null
  /** True where the logits shall hold a NaN. */
  readonly isNotFinite?: (seed: Seed, index: number) => boolean
  /** Rejects the step of this number, counted from 0. */
  readonly rejectAtStep?: number
  /** Duration of a step, spent in `wait`; both or neither. */
  readonly stepMs?: (batch: Batch) => number
  readonly wait?: (ms: number) => Promise<void>
  /** Told of every step that succeeded, in order. */
  readonly onStep?: (step: FakeStep) => void
}

/** A step as it was asked for: a copy, with the tokens it was fed. */
export interface FakeStep {
  readonly batch: Batch
  /** The `contextHash` that each sampled sequence read; null where unsampled. */
  readonly contexts: readonly (number | null)[]
  /** By sequence, then by row: the hash of the context up to and with that row. */
  readonly hashes: readonly (readonly number[])[]
}

const defaultLimits: RunnerLimits = {
  rowsMax: 64,
  sequencesMax: 16,
  blockTokens: 32,
  blockCount: 256,
  contextTokensMax: 2048,
  vocabSize: 1024,
  stepsInFlightMax: 2,
}

const emptyContext = 0x9e3779b9
const expertCount = 8

/** Identifies a token list by content and order; what a slot remembers of everything before it. */
export function contextHash(tokenIds: readonly number[]): number {
  return tokenIds.reduce(mix, emptyContext)
}

export class FakeRunner implements Runner {
  readonly limits: RunnerLimits
  readonly fingerprint = 'fake'
  readonly #options: FakeRunnerOptions
  readonly #vocabulary: readonly number[]
  readonly #stopTokenId: number
  /** By slot = block · blockTokens + position in block; −1 where nothing was ever written. */
  readonly #tokens: Int32Array
  readonly #positions: Int32Array
  /** Hash of all tokens up to and with this slot's, by slot. */
  readonly #hashes: Uint32Array
  #stepCount = 0
  #inFlightCount = 0
  #isUnusable = false
  /** What the step given last samples, and the end of it. */
  #lastSampled: readonly (Sampled | null)[] = []
  #lastEnd: Promise<unknown> = Promise.resolve()

  constructor(options: FakeRunnerOptions = {}) {
    this.#options = options
    this.limits = { ...defaultLimits, ...options.limits }
    this.#stopTokenId = options.stopTokenId ?? 0
    const everyToken = Array.from({ length: this.limits.vocabSize }, (_, tokenId) => tokenId)
    this.#vocabulary = options.vocabulary ?? everyToken.filter((tokenId) => tokenId !== this.#stopTokenId)
    assert(this.#vocabulary.length > 0, 'Cannot build a fake Runner: its vocabulary is empty')
    const slotCount = this.limits.blockCount * this.limits.blockTokens
    this.#tokens = new Int32Array(slotCount).fill(-1)
    this.#positions = new Int32Array(slotCount).fill(-1)
    this.#hashes = new Uint32Array(slotCount)
  }

  /** The token this Runner samples: what any engine must report at this index. */
  tokenAt(seed: Seed, index: number): number {
    if (this.#options.stopIndex?.(seed) === index) return this.#stopTokenId
    const choice = mix(mix(seed[0], seed[1]), index) % this.#vocabulary.length
    return this.#vocabulary[choice] ?? this.#stopTokenId
  }

  async run(lent: Batch): Promise<StepResult> {
    assert(!this.#isUnusable, 'Cannot run a step: the Runner is closed or a step failed before')
    const { stepsInFlightMax = 1 } = this.limits
    assert(this.#inFlightCount < stepsInFlightMax, 'Cannot run a step: another one is running')
    this.#inFlightCount += 1
    try {
      // As on a GPU's queue, what is written and sampled is settled in the order of the calls, and known only later.
      const asked = this.#fed(structuredClone(lent))
      this.#check(asked)
      const hashes = asked.sequences.map((rows) => this.#write(rows))
      const sampled = asked.sequences.map((rows) => this.#sample(rows))
      this.#lastSampled = sampled
      const end = this.#end(this.#lastEnd, asked)
      this.#lastEnd = end
      await end
      const contexts = asked.sequences.map(({ sampler }, group) => (sampler && hashes[group]?.at(-1)) ?? null)
      this.#options.onStep?.({ batch: asked, contexts, hashes })
      const promptLogProbs = asked.sequences.map(({ promptLogprobs }, group) => {
        const { count, nextTokenIds } = promptLogprobs ?? { count: 0, nextTokenIds: null }
        return nextTokenIds && nextTokenIds.map((tokenId, row) => logProbsOf(tokenId, hashes[group]?.[row] ?? 0, count))
      })
      return { sampled, promptLogProbs, ...this.#capture(asked, hashes) }
    } catch (error) {
      this.#isUnusable = true
      throw error
    } finally {
      this.#inFlightCount -= 1
    }
  }

  async close(): Promise<void> {
    this.#isUnusable = true
  }

  /** Poison, in the order of the steps: whoever reads one of these blocks before writing it fails its step. */
  poisonBlocks(blocks: readonly BlockId[]): void {
    const { blockTokens } = this.limits
    for (const block of blocks) this.#positions.fill(-1, block * blockTokens, (block + 1) * blockTokens)
  }

  /** Resolves when the step has taken its time, behind the one before it. */
  async #end(before: Promise<unknown>, asked: Batch): Promise<void> {
    await before
    await this.#options.wait?.(this.#options.stepMs?.(asked) ?? 0)
    assert(this.#stepCount !== this.#options.rejectAtStep, `Injected failure of step ${this.#stepCount}`)
    this.#stepCount += 1
  }

  /** The batch with the tokens that the step before samples, known or not, in place of those it was to be fed. */
  #fed(batch: Batch): Batch {
    const sequences = batch.sequences.map(({ fedFrom, ...rows }) => {
      if (fedFrom === undefined) return rows
      assert.deepEqual(rows.tokenIds, [0], 'A sequence that is fed has one row, of token 0')
      const sample = this.#lastSampled[fedFrom]
      assert(sample, `Cannot feed a sequence: ${fedFrom} was not sampled in the step before`)
      // What a row computes behind logits that are not finite is nobody's.
      return { ...rows, tokenIds: [sample.kind === 'token' ? sample.tokenId : 0] }
    })
    return { ...batch, sequences }
  }

  #check(batch: Batch): void {
    const { rowsMax, sequencesMax, contextTokensMax, vocabSize } = this.limits
    const rows = rowCount(batch)
    assert(batch.sequences.length > 0, 'Cannot run a step: it is empty')
    assert(batch.sequences.length <= sequencesMax, `Cannot run ${batch.sequences.length} sequences of ${sequencesMax}`)
    assert(rows <= rowsMax, `Cannot run ${rows} rows of ${rowsMax}`)
    for (const { tokenIds, start, promptLogprobs } of batch.sequences) {
      if (promptLogprobs !== undefined) {
        assert.equal(batch.sequences.length, 1, 'A step that tells log probabilities of a prompt runs alone')
        assert.equal(promptLogprobs.nextTokenIds.length, tokenIds.length, 'One next token a row')
        assert.equal(this.#inFlightCount, 1, 'A step that tells log probabilities of a prompt overlaps another')
      }
      assert(tokenIds.length > 0, 'Cannot run a sequence without rows')
      assert(Number.isInteger(start) && start >= 0, `Cannot start at position ${start}`)
      assert(start + tokenIds.length <= contextTokensMax, `Cannot run beyond the context of ${contextTokensMax}`)
      const areTokens = tokenIds.every((tokenId) => Number.isInteger(tokenId) && tokenId >= 0 && tokenId < vocabSize)
      assert(areTokens, `Cannot run a token outside 0 … ${vocabSize - 1}`)
    }
    const written = batch.sequences.flatMap(({ tokenIds, start, blocks }) =>
      tokenIds.map((_, row) => this.#slot(blocks, start + row)),
    )
    assert.equal(new Set(written).size, written.length, 'Two rows of a step write the same KV slot')
  }

  /** Reads the whole context back, then writes the rows; returns the context hash at every row. */
  #write({ tokenIds, start, blocks }: SequenceRows): number[] {
    let hash = emptyContext
    for (let position = 0; position < start; position += 1) {
      const slot = this.#slot(blocks, position)
      assert.equal(this.#positions[slot], position, `KV of position ${position} is not where its block table says`)
      hash = mix(hash, this.#tokens[slot] ?? -1)
      assert.equal(this.#hashes[slot], hash, `KV of position ${position} belongs to another context`)
    }
    return tokenIds.map((tokenId, row) => {
      const slot = this.#slot(blocks, start + row)
      hash = mix(hash, tokenId)
      this.#tokens[slot] = tokenId
      this.#positions[slot] = start + row
      this.#hashes[slot] = hash
      return hash
    })
  }

  #slot(blocks: readonly number[], position: number): number {
    const { blockTokens, blockCount } = this.limits
    const block = blocks[Math.floor(position / blockTokens)]
    assert(block !== undefined, `No KV block for position ${position}: the table has ${blocks.length}`)
    assert(
      Number.isInteger(block) && block >= 0 && block < blockCount,
      `No KV block ${block}: the pool has ${blockCount}`,
    )
    return block * blockTokens + (position % blockTokens)
  }

  #sample({ sampler }: SequenceRows): Sampled | null {
    if (sampler === null) return null
    const { seed, index, forcedToken, logprobCount } = sampler
    if (this.#options.isNotFinite?.(seed, index)) return { kind: 'not-finite' }
    const tokenId = forcedToken ?? this.tokenAt(seed, index)
    if (logprobCount === undefined) return { kind: 'token', tokenId }
    return {
      kind: 'token',
      tokenId,
      logProbs: logProbsOf(tokenId, contextHash([seed[0], seed[1], index]), logprobCount),
    }
  }

  /** Logits and experts that depend on nothing but the row's context, as a model's do; they choose no token. */
  #capture(
    { sequences, capture = { logits: 'none', experts: false } }: Batch,
    hashes: readonly (readonly number[])[],
  ): Pick<StepResult, 'logits' | 'experts'> {
    const { vocabSize } = this.limits
    const all = hashes.flat()
    const sampled = hashes.flatMap((rows, group) => (sequences[group]?.sampler ? rows.slice(-1) : []))
    const logits = (rows: readonly number[]) =>
      Float32Array.from({ length: rows.length * vocabSize }, (_, cell) => {
        return mix(rows[Math.floor(cell / vocabSize)] ?? 0, cell % vocabSize) / 2 ** 32
      })
    return {
      ...(capture.logits === 'none' ? {} : { logits: logits(capture.logits === 'all' ? all : sampled) }),
      ...(capture.experts ? { experts: Int32Array.from(all, (hash) => hash % expertCount) } : {}),
    }
  }
}

/** As a Runner tells them: a token's own and those of the `count` likeliest, a pure function of its context. */
export function logProbsOf(tokenId: number, context: number, count: number): readonly TokenLogProb[] {
  const logProb = (id: number) => -mix(context, id) / 2 ** 28
  return [tokenId, ...Array.from({ length: count }, (_, id) => id)].map((id) => ({ tokenId: id, logProb: logProb(id) }))
}

/** u32 avalanche of a pair (the finaliser of MurmurHash3, by Austin Appleby). */
function mix(state: number, value: number): number {
  let hash = Math.imul(state ^ (value + 0x7f4a7c15), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  hash = Math.imul(hash ^ (hash >>> 16), 0x27d4eb2f)
  return (hash ^ (hash >>> 15)) >>> 0
}
