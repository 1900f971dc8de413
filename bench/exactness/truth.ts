/**
 * What each trial answers alone: its tokens, and the logits that each was chosen under. And the judge of everyone else.
 */
import assert from 'node:assert/strict'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import type { Runner } from '../../gpu-worker/engine/runner.ts'
import { promptOf, type Trial } from './trials.ts'
import { type SampledRow, WatchedRunner } from './watched-runner.ts'

export interface Answer {
  readonly promptTokenIds: readonly number[]
  readonly tokenIds: readonly number[]
  /** By index of the token. */
  readonly rows: readonly Row[]
}

/** A row of logits that a token was chosen under. */
interface Row {
  /** u32 [vocabSize]: bits of f32. */
  readonly bits: Uint32Array
  readonly kernels: string
}

/** One at a time in an engine of its own, in order, with nothing to share. */
export async function answersAlone(
  runner: Runner,
  trials: readonly Trial[],
  onAnswer: (count: number) => void = () => undefined,
): Promise<Answer[]> {
  const watched = new WatchedRunner(runner)
  const answers: Answer[] = []
  for (const trial of trials) {
    const before = answers.map(({ tokenIds }) => tokenIds)
    const promptTokenIds = promptOf(trial, trials, before)
    const rows: Row[] = []
    watched.watch({
      onRow: ({ sampler, logits, kernels }) => void (rows[sampler.index] = { bits: bitsOf(logits).slice(), kernels }),
      onCut: () => undefined,
    })
    const engine = new Engine(watched)
    const { sampling, answerTokens } = trial
    const submission = engine.submit({
      id: `${trial.number}`,
      promptTokenIds,
      sampling,
      stopTokenIds: [],
      answerTokensMax: answerTokens,
    })
    assert.equal(submission.kind, 'accepted')
    const tokenIds: number[] = []
    while (engine.hasWork) {
      for (const event of await engine.step()) if (event.kind === 'token') tokenIds.push(event.tokenId)
    }
    assert.equal(tokenIds.length, answerTokens, `Trial ${trial.number} answers in full`)
    answers.push({ promptTokenIds, tokenIds, rows })
    onAnswer(answers.length)
  }
  return answers
}

/** Counts what differs from the answers alone. */
export class Judge {
  readonly #answers: readonly Answer[]
  /** Rows of logits that were compared. */
  rowCount = 0
  /** Of these: with a differing bit. */
  differingRowCount = 0
  /** Of these: chosen by a step that ran other kernels than the step alone did. */
  otherKernelsCount = 0
  tokenCount = 0
  differingTokenCount = 0
  readonly kernels = new Set<string>()
  /** The first difference, for a message. */
  first: string | null = null

  constructor(answers: readonly Answer[]) {
    this.#answers = answers
  }

  /** Rows of sequences that are no trials, and rows behind an answer's end, are nobody's. */
  row({ sampler: { seed, index }, logits, kernels }: SampledRow): void {
    const expected = this.#answers[seed[0]]?.rows[index]
    if (expected === undefined) return
    for (const name of kernels.split(' ')) this.kernels.add(name)
    this.rowCount += 1
    if (kernels !== expected.kernels) this.otherKernelsCount += 1
    const bits = bitsOf(logits)
    const at = expected.bits.findIndex((word, i) => word !== bits[i])
    if (at < 0 && bits.length === expected.bits.length) return
    this.differingRowCount += 1
    this.first ??= `trial ${seed[0]}, token ${index}, logit ${at}: ${logits[at]} in company`
  }

  token(number: number, index: number, tokenId: number): void {
    this.tokenCount += 1
    if (this.#answers[number]?.tokenIds[index] === tokenId) return
    this.differingTokenCount += 1
    this.first ??= `trial ${number}, token ${index}: ${tokenId} in company`
  }
}

function bitsOf(logits: Float32Array): Uint32Array {
  return new Uint32Array(logits.buffer, logits.byteOffset, logits.length)
}
