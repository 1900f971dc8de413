/**
 * A Batch as the GPU reads it: checks it against the Runner's limits, packs it, writes it.
 *
 * Knows the layout of `kernels/step-input.ts` and nothing of the layers. A batch that breaks a limit is our own error.
 */
import { strict as assert } from 'node:assert'
import type { Slice } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { rowCount, type Batch, type SequenceRows } from '../engine/batch.ts'
import type { RunnerLimits } from '../engine/runner.ts'
import { planAttention, type AttentionCounts } from '../kernels/attention-plan.ts'
import { LOGPROBS_MAX } from '../kernels/log-probs.ts'
import type { Activation } from '../kernels/matrix.ts'
import { CHANGE_BYTES, ROW_RECORD_BYTES, SAMPLER_RECORD_BYTES, type StepInput } from '../kernels/step-input.ts'
import type { RowSet } from './model-recipe.ts'
import type { RopeTable } from './rope.ts'
import { SamplerRecords } from './sampler-records.ts'

export interface WrittenStep {
  readonly counts: Readonly<Record<RowSet, number>>
  /** Sequences whose next token is sampled; sampled[i] belongs to sequence `sampledSequences[i]`. */
  readonly sampledSequences: readonly number[]
}

/** A row of the step whose log probabilities are wanted: of this token, and of so many of the likeliest. */
export interface RowToTell {
  readonly row: number
  readonly tokenId: number
  readonly count: number
}

const NOT_SAMPLED = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0], index: 0 } as const

export class StepWriter {
  readonly #gpu: Gpu
  readonly #input: StepInput
  readonly #limits: RunnerLimits
  readonly #rope: RopeTable
  readonly #rows: Uint32Array<ArrayBuffer>
  readonly #angles: Float32Array<ArrayBuffer>
  readonly #tables: Uint32Array<ArrayBuffer>
  readonly #picked: Uint32Array<ArrayBuffer>
  readonly #samplers: SamplerRecords
  /** Of the step written last: what its samples are, in order. */
  #sampledSequences: readonly number[] = []

  constructor(gpu: Gpu, input: StepInput, limits: RunnerLimits, rope: RopeTable) {
    this.#gpu = gpu
    this.#input = input
    this.#limits = limits
    this.#rope = rope
    this.#rows = new Uint32Array(limits.rowsMax * (ROW_RECORD_BYTES / 4))
    this.#angles = new Float32Array(limits.rowsMax * rope.width)
    this.#tables = new Uint32Array(input.tables.bytes / 4)
    this.#picked = new Uint32Array(limits.sequencesMax)
    const { vocabSize } = limits
    // As many as an output pass picks, which may be more than there are sequences.
    const sequencesMax = Math.floor(input.samplers.bytes / SAMPLER_RECORD_BYTES)
    const changesMax = Math.floor(input.changes.bytes / CHANGE_BYTES)
    this.#samplers = new SamplerRecords({ vocabSize, sequencesMax, changesMax })
  }

  write(batch: Batch): WrittenStep {
    this.#check(batch)
    const sampledSequences: number[] = []
    this.#samplers.clear()
    let row = 0
    let entry = 0
    batch.sequences.forEach((sequence, index) => {
      sequence.tokenIds.forEach((tokenId, i) => {
        const position = sequence.start + i
        this.#rows.set([tokenId, position, entry, this.#placeOfFed(sequence)], (row + i) * 4)
        this.#rope.copy(position, this.#angles, (row + i) * this.#rope.width)
      })
      this.#tables.set(sequence.blocks, entry)
      row += sequence.tokenIds.length
      entry += sequence.blocks.length
      if (sequence.sampler !== null) {
        this.#picked[sampledSequences.length] = row - 1
        this.#samplers.add(sequence.sampler)
        sampledSequences.push(index)
      }
    })
    this.#send(this.#input.rows, this.#rows.subarray(0, row * 4))
    this.#send(this.#input.rope, this.#angles.subarray(0, row * this.#rope.width))
    this.#send(this.#input.tables, this.#tables.subarray(0, entry))
    this.pick(this.#picked.subarray(0, sampledSequences.length))
    this.#send(this.#input.samplers, this.#samplers.records)
    this.#send(this.#input.changes, this.#samplers.changes)
    this.#send(this.#input.masks, this.#samplers.masks)
    this.#sampledSequences = sampledSequences
    const picked = sampledSequences.length
    const isAdjusting = this.#samplers.isAdjusting
    const chosen = {
      plain: isAdjusting ? 0 : picked,
      adjusted: isAdjusting ? picked : 0,
      told: this.#samplers.isTelling ? picked : 0,
    }
    return { counts: { all: row, picked, ...chosen, ...this.#planAttention(row) }, sampledSequences }
  }

  /** Rows whose logits the next output pass computes. */
  pick(rows: Uint32Array<ArrayBuffer>): void {
    this.#send(this.#input.picked, rows)
  }

  /**
   * For rows of the step just run: whose log probabilities the next output pass tells, in place of tokens sampled. That
   * step feeds nobody any more.
   */
  tell(rows: readonly RowToTell[], sampled: Slice): void {
    this.#sampledSequences = []
    this.#samplers.clear()
    for (const { count } of rows) this.#samplers.add({ ...NOT_SAMPLED, logprobCount: count })
    this.pick(Uint32Array.from(rows, ({ row }) => row))
    this.#send(this.#input.samplers, this.#samplers.records)
    this.#send(
      sampled,
      Uint32Array.from(rows, ({ tokenId }) => tokenId),
    )
  }

  /** The residual stream of the stage before, f32 [rows, width], into the rows of `x`. */
  writeHidden(hidden: Float32Array, rows: number, { slice, width, stride }: Activation): void {
    assert(hidden.length === rows * width, `The residual stream has ${rows} × ${width} values, got ${hidden.length}`)
    const padded = new Float32Array(rows * stride)
    for (let row = 0; row < rows; row++) padded.set(hidden.subarray(row * width, (row + 1) * width), row * stride)
    this.#send(slice, padded)
  }

  /** 0, or one more than where the step before puts the sequence's token. */
  #placeOfFed({ fedFrom, tokenIds }: SequenceRows): number {
    if (fedFrom === undefined) return 0
    const place = this.#sampledSequences.indexOf(fedFrom)
    assert(place >= 0 && tokenIds.length === 1, 'A sequence is fed one token that the step before samples')
    return place + 1
  }

  #planAttention(rows: number): AttentionCounts {
    const keys = Array.from({ length: rows }, (_, row) => (this.#rows[row * 4 + 1] ?? 0) + 1)
    const { writes, counts } = planAttention(keys, this.#input.attention, this.#gpu.processor)
    for (const { slice, at, values } of writes) this.#send(slice, values, at)
    return counts
  }

  #send(target: Slice, values: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>, at = 0) {
    if (values.byteLength > 0) this.#gpu.device.queue.writeBuffer(target.buffer, target.offset + at, values)
  }

  #check(batch: Batch): void {
    const { rowsMax, sequencesMax } = this.#limits
    const rows = rowCount(batch)
    assert(rows <= rowsMax, `A step holds ${rowsMax} rows, got ${rows}`)
    assert(
      batch.sequences.length <= sequencesMax,
      `A step holds ${sequencesMax} sequences, got ${batch.sequences.length}`,
    )
    for (const sequence of batch.sequences) this.#checkSequence(sequence)
    const entries = batch.sequences.reduce((sum, sequence) => sum + sequence.blocks.length, 0)
    assert(entries <= this.#tables.length, `A step holds ${this.#tables.length} block-table entries, got ${entries}`)
  }

  #checkSequence({ tokenIds, start, blocks, promptLogprobs }: SequenceRows): void {
    const { blockTokens, blockCount, contextTokensMax, vocabSize } = this.#limits
    const end = start + tokenIds.length
    const { nextTokenIds = [], count = 0 } = promptLogprobs ?? {}
    const isTold = nextTokenIds.length <= tokenIds.length && count >= 0 && count <= LOGPROBS_MAX
    assert(isTold, 'A prompt is told of a next token for each row at most')
    assert(tokenIds.length > 0 && start >= 0, 'A sequence of a step has at least one row')
    assert(end <= contextTokensMax, `A sequence holds ${contextTokensMax} positions, got ${end}`)
    assert(blocks.length * blockTokens >= end, `${blocks.length} blocks do not cover ${end} positions`)
    assert(
      [...tokenIds, ...nextTokenIds].every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize),
      'A token id is outside the vocabulary',
    )
    assert(
      blocks.every((block) => Number.isInteger(block) && block >= 0 && block < blockCount),
      'A block is outside the pool',
    )
  }
}
