/**
 * What every Runner must keep, as one suite: `runnerConformance('fake', open)` inside a test file runs it.
 *
 * It knows no model: it compares a Runner with itself, never a token with an expected one.
 * Bits are compared on every row's logits, so a difference that no sampled token shows still fails.
 */
import assert from 'node:assert/strict'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Batch, BlockId, SamplerRow, SequenceRows } from '../gpu-worker/engine/batch.ts'
import type { Runner } from '../gpu-worker/engine/runner.ts'
import { overlappedTokens, refusesOverlap } from './overlapped-steps.ts'

/** A sequence to answer: where its KV goes and how it is cut into steps. */
interface Trial {
  readonly promptTokenIds: readonly number[]
  readonly blocks: readonly BlockId[]
  readonly sampling: Omit<SamplerRow, 'index'>
  /** Rows of this sequence in one step, at most. */
  readonly chunkRows: number
}

interface Answer {
  readonly tokenIds: readonly number[]
  /** Bits of the logits, u32 [positions, vocabSize]: every position that was computed. */
  readonly logitBits: Uint32Array
}

const answerCount = 5
const none = new Float32Array()
const trialsMax = 4
const greedy: Trial['sampling'] = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [7, 11] }
const random: Trial['sampling'] = { temperature: 1, topK: 20, topP: 0.9, minP: 0.01, seed: [3, 0xffffffff] }

/** `open` gives a fresh Runner each time, of 16 blocks or more, a context of 4 blocks, 4 tokens a block. */
export function runnerConformance(name: string, open: () => Promise<Runner>, timeoutMs = 120_000): void {
  describe(`Runner contract: ${name}`, { timeout: timeoutMs }, () => {
    let runner: Runner
    beforeAll(async () => {
      runner = await open()
    }, timeoutMs)
    afterAll(() => runner.close())

    /** A prompt of its own length and tokens per trial, in blocks of its own. */
    function trial(number: number, changes: Partial<Trial> = {}): Trial {
      const { blockTokens, vocabSize } = runner.limits
      const promptCount = [blockTokens + 3, 1, 2 * blockTokens - answerCount + 2, blockTokens][number % trialsMax] ?? 1
      return {
        promptTokenIds: Array.from({ length: promptCount }, (_, at) => (at * 31 + number * 97 + 5) % vocabSize),
        blocks: blockRange(number * 3, 3),
        sampling: number % 2 === 0 ? greedy : random,
        chunkRows: Math.max(1, Math.floor(runner.limits.rowsMax / trialsMax)),
        ...changes,
      }
    }

    it('limits are positive whole numbers and the fingerprint is not empty', () => {
      for (const [limit, value] of Object.entries(runner.limits))
        expect(Number.isInteger(value) && value > 0, `${limit} = ${value}`).toBe(true)
      expect(runner.limits.blockCount).toBeGreaterThanOrEqual(16)
      expect(runner.limits.blockTokens).toBeGreaterThanOrEqual(4)
      expect(runner.limits.contextTokensMax).toBeGreaterThanOrEqual(4 * runner.limits.blockTokens)
      expect(runner.fingerprint).not.toBe('')
    })

    it('a result stands where a sampler stood, null elsewhere, and is a token of the vocabulary', async () => {
      const [first, second] = [trial(0), trial(1)]
      const silent: SequenceRows = {
        tokenIds: [first.promptTokenIds[0] ?? 0],
        start: 0,
        blocks: first.blocks,
        sampler: null,
      }
      const asked: SequenceRows = {
        tokenIds: second.promptTokenIds,
        start: 0,
        blocks: second.blocks,
        sampler: { ...greedy, index: 0 },
      }
      const { sampled, logits, experts } = await runner.run({ sequences: [silent, asked] })
      expect(sampled).toHaveLength(2)
      expect(sampled[0]).toBeNull()
      expect(sampled[1]).toEqual({ kind: 'token', tokenId: expect.any(Number) })
      expect(logits, 'not asked for').toBeUndefined()
      expect(experts, 'not asked for').toBeUndefined()
    })

    it('captures logits of every row and experts of whole rows when asked', async () => {
      const { promptTokenIds, blocks } = trial(3)
      const tokenIds = promptTokenIds.slice(0, runner.limits.rowsMax)
      const sequences = [{ tokenIds, start: 0, blocks, sampler: null }]
      const result = await runner.run({ sequences, capture: { logits: 'all', experts: true } })
      expect(result.logits?.length).toBe(tokenIds.length * runner.limits.vocabSize)
      expect((result.experts?.length ?? -1) % tokenIds.length).toBe(0)
    })

    it('captures the sampled rows alone with the bits they have among all', async () => {
      const { vocabSize } = runner.limits
      const sequences = [trial(0), trial(1), trial(2)].map((one, number): SequenceRows => ({
        tokenIds: one.promptTokenIds.slice(0, number === 1 ? 1 : 2),
        start: 0,
        blocks: one.blocks,
        sampler: number === 1 ? null : { ...one.sampling, index: 0 },
      }))
      const all = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
      const some = await runner.run({ sequences, capture: { logits: 'sampled', experts: false } })
      expect(some.sampled).toEqual(all.sampled)
      const rowOf = (row: number) => [...bitsOf(all.logits ?? none).subarray(row * vocabSize, (row + 1) * vocabSize)]
      expect([...bitsOf(some.logits ?? none)]).toEqual([...rowOf(1), ...rowOf(4)])
      const unsampled = { sequences: sequences.slice(1, 2), capture: { logits: 'sampled', experts: false } } as const
      expect((await runner.run(unsampled)).logits).toHaveLength(0)
    })

    it('the same request gives the same bits twice', async () => {
      const [once] = await answer(runner, [trial(0)])
      const [again] = await answer(runner, [trial(0)])
      expect(again).toEqual(once)
    })

    it('a prompt gives the same bits in one go, in any chunks, and token by token', async () => {
      const { rowsMax, blockTokens } = runner.limits
      for (const number of [0, 3]) {
        const [whole] = await answer(runner, [trial(number, { chunkRows: rowsMax })])
        for (const chunkRows of [1, 2, 7, blockTokens - 1, blockTokens, blockTokens + 1]) {
          if (chunkRows > rowsMax) continue
          const [cut] = await answer(runner, [trial(number, { chunkRows })])
          expect(cut, `chunks of ${chunkRows}`).toEqual(whole)
        }
      }
    })

    it('a sequence gives the same bits alone and beside others, in any order', async () => {
      const count = Math.min(trialsMax, runner.limits.sequencesMax, runner.limits.rowsMax)
      const trials = Array.from({ length: count }, (_, number) => trial(number))
      const alone = []
      for (const one of trials) alone.push(...(await answer(runner, [one])))
      expect(await answer(runner, trials)).toEqual(alone)
      expect(await answer(runner, trials.toReversed())).toEqual(alone.toReversed())
    })

    it('which blocks hold a sequence, what they held before, and how long its table is change nothing', async () => {
      const [tidy] = await answer(runner, [trial(0, { blocks: blockRange(0, 3) })])
      await answer(runner, [trial(2, { blocks: blockRange(4, 3) })])
      const last = runner.limits.blockCount - 1
      const scattered = [6, last, 4, 9, 5].map((block) => block as BlockId)
      const [reused] = await answer(runner, [trial(0, { blocks: scattered })])
      expect(reused).toEqual(tidy)
    })

    it('prompts on both sides of a block edge decode across it with the same bits as prefilled', async () => {
      const { blockTokens, vocabSize } = runner.limits
      for (const promptCount of [blockTokens - 1, blockTokens, blockTokens + 1]) {
        const promptTokenIds = Array.from({ length: promptCount }, (_, at) => (at * 13 + 1) % vocabSize)
        const [decoded] = await answer(runner, [trial(0, { promptTokenIds })])
        assert(decoded !== undefined)
        const known = [...promptTokenIds, ...decoded.tokenIds.slice(0, -1)]
        const { logitBits } = await logitsOf(runner, known, trial(0).blocks)
        expect(logitBits, `prompt of ${promptCount}`).toEqual(decoded.logitBits)
      }
    })

    it('a step given while one is in flight and fed by it gives the bits it gives after it, if steps may overlap', async () => {
      const count = Math.min(trialsMax, runner.limits.sequencesMax, runner.limits.rowsMax)
      const trials = Array.from({ length: count }, (_, number) => trial(number, { promptTokenIds: [number + 1, 3] }))
      if ((runner.limits.stepsInFlightMax ?? 1) === 1) return refusesOverlap(await open(), rowsAt(0, 1, 1))
      const alone = await answer(runner, trials)
      const overlapped = await overlappedTokens(runner, trials, answerCount)
      expect(overlapped).toEqual(alone.map(({ tokenIds }) => tokenIds))
      for (const [number, one] of trials.entries()) {
        const known = [...one.promptTokenIds, ...(overlapped[number] ?? []).slice(0, -1)]
        const last = { tokenIds: known.slice(-1), start: known.length - 1, blocks: one.blocks, sampler: null }
        const { logits } = await runner.run({ sequences: [last], capture: { logits: 'all', experts: false } })
        const expected = alone[number]?.logitBits.slice(-runner.limits.vocabSize)
        expect(bitsOf(logits ?? new Float32Array()), `KV of sequence ${number}`).toEqual(expected)
      }
    })

    it('a step of exactly rowsMax rows runs', async () => {
      const { rowsMax, blockTokens, contextTokensMax, blockCount } = runner.limits
      const rows = Math.min(rowsMax, contextTokensMax, blockCount * blockTokens)
      const blocks = blockRange(0, Math.ceil(rows / blockTokens))
      const sequences = [{ tokenIds: zeros(rows), start: 0, blocks, sampler: { ...greedy, index: 0 } }]
      const { sampled } = await runner.run({ sequences })
      expect(sampled).toEqual([{ kind: 'token', tokenId: expect.any(Number) }])
    })

    const violations: readonly (readonly [string, (runner: Runner) => SequenceRows])[] = [
      ['more rows than rowsMax', ({ limits }) => rowsAt(0, limits.rowsMax + 1, limits.blockTokens)],
      ['a position beyond the context', ({ limits }) => rowsAt(limits.contextTokensMax, 1, limits.blockTokens)],
      ['a block outside the pool', ({ limits }) => ({ ...rowsAt(0, 1, 1), blocks: blockRange(limits.blockCount, 1) })],
      ['a block table too short', () => ({ ...rowsAt(0, 1, 1), blocks: [] })],
      ['a token outside the vocabulary', ({ limits }) => ({ ...rowsAt(0, 1, 1), tokenIds: [limits.vocabSize] })],
    ]
    it.each(violations)('rejects %s', async (_, rows) => {
      const victim = await open()
      await expect(victim.run({ sequences: [rows(victim)] })).rejects.toThrow(Error)
      await victim.close()
    })

    it('runs nothing once closed, and has the same fingerprint when opened again', async () => {
      const other = await open()
      expect(other.fingerprint).toBe(runner.fingerprint)
      await other.close()
      await expect(other.run({ sequences: [rowsAt(0, 1, 1)] })).rejects.toThrow(Error)
    })
  })
}

/** Answers the trials in common steps: each gets its next rows in every step, as far as the row limit reaches. */
async function answer(runner: Runner, trials: readonly Trial[]): Promise<Answer[]> {
  const { rowsMax, vocabSize } = runner.limits
  const lives = trials.map((one) => ({ trial: one, known: [...one.promptTokenIds], computed: 0, bits: newBits() }))
  const isOpen = ({ trial: { promptTokenIds }, known }: (typeof lives)[number]) =>
    known.length < promptTokenIds.length + answerCount
  while (lives.some(isOpen)) {
    let rowsLeft = rowsMax
    const step = []
    for (const life of lives.filter(isOpen)) {
      const rows = Math.min(life.known.length - life.computed, life.trial.chunkRows, rowsLeft)
      if (rows > 0) step.push({ life, rows })
      rowsLeft -= rows
    }
    const sequences = step.map(({ life: { trial: one, known, computed }, rows }) => ({
      tokenIds: known.slice(computed, computed + rows),
      start: computed,
      blocks: one.blocks,
      sampler:
        computed + rows === known.length ? { ...one.sampling, index: known.length - one.promptTokenIds.length } : null,
    }))
    const { sampled, logits } = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
    assert(logits !== undefined, 'The logits asked for are missing')
    let row = 0
    for (const [at, { life, rows }] of step.entries()) {
      life.bits.push(bitsOf(logits.subarray(row * vocabSize, (row + rows) * vocabSize)))
      life.computed += rows
      row += rows
      const sample = sampled[at]
      if (sample?.kind === 'token') life.known.push(sample.tokenId)
      else assert.equal(sequences[at]?.sampler, null, 'A sampler gave no token')
    }
  }
  return lives.map(({ trial: { promptTokenIds }, known, bits }) => ({
    tokenIds: known.slice(promptTokenIds.length),
    logitBits: joined(bits),
  }))
}

async function logitsOf(
  runner: Runner,
  tokenIds: readonly number[],
  blocks: readonly BlockId[],
): Promise<Pick<Answer, 'logitBits'>> {
  const bits = newBits()
  for (let start = 0; start < tokenIds.length; start += runner.limits.rowsMax) {
    const rows = tokenIds.slice(start, start + runner.limits.rowsMax)
    const batch: Batch = { sequences: [{ tokenIds: rows, start, blocks, sampler: null }] }
    const { logits } = await runner.run({ ...batch, capture: { logits: 'all', experts: false } })
    bits.push(bitsOf(logits ?? new Float32Array()))
  }
  return { logitBits: joined(bits) }
}

function rowsAt(start: number, count: number, blockTokens: number): SequenceRows {
  const blocks = Array.from({ length: Math.ceil((start + count) / blockTokens) }, (_, at) => (at % 16) as BlockId)
  return { tokenIds: zeros(count), start, blocks, sampler: { ...greedy, index: 0 } }
}

function blockRange(first: number, count: number): BlockId[] {
  return Array.from({ length: count }, (_, at) => (first + at) as BlockId)
}

function zeros(count: number): number[] {
  return Array.from({ length: count }, () => 0)
}

function newBits(): Uint32Array[] {
  return []
}

/** A copy: what a Runner returned may be its own memory. */
function bitsOf(logits: Float32Array): Uint32Array {
  return new Uint32Array(logits.slice().buffer)
}

function joined(parts: readonly Uint32Array[]): Uint32Array {
  const whole = new Uint32Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
