/**
 * What each trial answers alone: its tokens, and the logits that each was chosen under. And the judge of everyone else.
 */
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import { Engine, type EngineEvent } from '../../gpu-worker/engine/engine.ts'
import { inLanes } from './lanes.ts'
import { promptOf, type Trial } from './trials.ts'
import { type SampledRow, type WatchableRunner, WatchedRunner } from './watched-runner.ts'

export interface Answer {
  readonly promptTokenIds: readonly number[]
  readonly tokenIds: readonly number[]
  /** By index of the token, where asked for. */
  readonly logProbs: readonly LogProbs[]
  /** Of the prompt, by position, where asked for. */
  readonly promptLogProbs: readonly LogProbs[]
  /** By index of the token. */
  readonly rows: readonly Row[]
}

type LogProbs = TokenEvent['logProbs']
type TokenEvent = Extract<EngineEvent, { kind: 'token' }>
type PromptEvent = Extract<EngineEvent, { kind: 'prompt-logprobs' }>

/** A row of logits that a token was chosen under. */
interface Row {
  /** u32 [vocabSize]: bits of f32. */
  readonly bits: Uint32Array
  readonly kernels: string
}

/** One at a time in an engine of its own, with nothing to share. Several Runners share the trials, each alone with its own. */
export async function answersAlone(
  runners: readonly WatchableRunner[],
  trials: readonly Trial[],
  onAnswer: (count: number) => void = () => undefined,
): Promise<Answer[]> {
  // A parent is taken before its turn, so that whoever waits for one waits for another Runner.
  const known = trials.map(() => Promise.withResolvers<Answer>())
  let count = 0
  await inLanes(runners, trials, async (runner, trial) => {
    const parent = trial.parent === null ? null : await known[trial.parent]?.promise
    const answer = await answerAlone(new WatchedRunner(runner), trial, promptOf(trial, parent ?? null))
    known[trial.number]?.resolve(answer)
    onAnswer((count += 1))
  })
  return Promise.all(known.map(({ promise }) => promise))
}

async function answerAlone(
  watched: WatchedRunner,
  { number, sampling, steer, promptLogprobCount, answerTokens }: Trial,
  promptTokenIds: readonly number[],
): Promise<Answer> {
  const rows: Row[] = []
  watched.watch({
    onRow: ({ sampler, logits, kernels }) => void (rows[sampler.index] = { bits: bitsOf(logits).slice(), kernels }),
    onCut: () => undefined,
  })
  const engine = new Engine(watched)
  const id = `${number}`
  const submission = engine.submit({
    id,
    promptTokenIds,
    sampling,
    stopTokenIds: [],
    answerTokensMax: answerTokens,
    ...(steer && { steer }),
    ...(promptLogprobCount !== undefined && { promptLogprobCount }),
  })
  assert.equal(submission.kind, 'accepted')
  const tokenIds: number[] = []
  const logProbs: LogProbs[] = []
  const promptLogProbs: LogProbs[] = []
  while (engine.hasWork) {
    for (const event of await engine.step()) {
      if (event.kind === 'prompt-logprobs') promptLogProbs[event.index] = event.logProbs
      if (event.kind !== 'token') continue
      tokenIds.push(event.tokenId)
      logProbs.push(event.logProbs)
    }
  }
  assert.equal(tokenIds.length, answerTokens, `Trial ${number} answers in full`)
  return { promptTokenIds, tokenIds, logProbs, promptLogProbs, rows }
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
  /** Prompt tokens whose log probabilities were told. */
  toldCount = 0
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

  /** The token of a trial and, where it asked for them, its log probabilities. */
  token(number: number, { index, tokenId, logProbs }: TokenEvent): void {
    const answer = this.#answers[number]
    this.tokenCount += 1
    if (answer?.tokenIds[index] === tokenId && isDeepStrictEqual(answer.logProbs[index], logProbs)) return
    this.differingTokenCount += 1
    this.first ??= `trial ${number}, token ${index}: ${tokenId} in company`
  }

  /** The log probabilities of a prompt's token. */
  promptToken(number: number, { index, logProbs }: PromptEvent): void {
    this.toldCount += 1
    if (isDeepStrictEqual(this.#answers[number]?.promptLogProbs[index], logProbs)) return
    this.differingTokenCount += 1
    this.first ??= `trial ${number}, prompt token ${index}: told otherwise in company`
  }
}

function bitsOf(logits: Float32Array): Uint32Array {
  return new Uint32Array(logits.buffer, logits.byteOffset, logits.length)
}
