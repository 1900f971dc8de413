/**
 * What is seen of a simulated life from outside, and every promise that can be judged from there.
 *
 * It sees requests, events and the Runner's steps, never the engine's insides.
 */
import assert from 'node:assert/strict'
import type { Batch } from '../../gpu-worker/engine/batch.ts'
import type { Engine, EngineEvent, EngineOptions } from '../../gpu-worker/engine/engine.ts'
import type { RunnerLimits } from '../../gpu-worker/engine/runner.ts'
import { serviceClasses } from '../../gpu-worker/engine/sequence.ts'
import { contextHash, type FakeStep, logProbsOf } from '../fake-runner.ts'
import type { Life } from './simulated-lives.ts'
import { checkComputedOnce, checkPenalties } from './simulated-steps.ts'
import type { SimulationCounts } from './simulation-counts.ts'

export class World {
  readonly lives: Life[] = []
  readonly #limits: RunnerLimits
  readonly #engine: Engine
  readonly #options: Required<EngineOptions>
  readonly #counts: SimulationCounts
  #submissionCount = 0
  #isDrained = false

  constructor(limits: RunnerLimits, engine: Engine, options: Required<EngineOptions>, counts: SimulationCounts) {
    this.#limits = limits
    this.#engine = engine
    this.#options = options
    this.#counts = counts
  }

  submit(life: Life): void {
    const { request } = life
    life.serial = this.#submissionCount += 1
    life.submission = this.#engine.submit(request).kind
    const canFit = request.promptTokenIds.length < this.#engine.tokensMax
    const expected = canFit ? (this.#isDrained ? 'draining' : 'accepted') : 'refused'
    assert.equal(life.submission, expected, `${request.id} of ${request.promptTokenIds.length} tokens`)
    this.#counts.refusals += canFit ? 0 : 1
    this.#counts.resumptions += (request.resumedTokenIds?.length ?? 0) > 0 ? 1 : 0
    this.#counts.isolations += request.isolated ? 1 : 0
  }

  ask(life: Life, end: 'cancelled' | 'stop'): void {
    if (end === 'cancelled') this.#engine.cancel(life.request.id)
    else this.#engine.finish(life.request.id)
    if (life.submission === 'accepted' && life.end === null) life.asked ??= end
  }

  drain(): void {
    this.#engine.drain()
    this.#isDrained = true
    this.#counts.drains += 1
  }

  /** What was submitted before this step is in its order from now on. */
  pickUp(nowMs: number): void {
    for (const life of this.lives) {
      if (life.submission !== 'accepted' || life.dueMs !== Infinity) continue
      const { arrivedMs = Infinity, serviceClass = 'interactive' } = life.request
      life.dueMs = Math.min(arrivedMs, nowMs) + this.#options.ageCapsMs[serviceClass]
    }
  }

  takeEvents(events: readonly EngineEvent[], nowMs: number, hasPreempted: boolean): void {
    const endedNow = new Set(events.flatMap(({ kind, id }) => (kind === 'end' ? [id] : [])))
    for (const event of events) {
      const life = this.lives.find(({ request }) => request.id === event.id)
      assert(life?.submission === 'accepted', `An event of ${event.id}, which was not accepted`)
      assert.equal(life.end, null, `${event.id} goes on after its end`)
      if (event.kind === 'end') {
        life.end = event.reason
        this.#counts.ends[event.reason] += 1
      } else if (event.kind === 'start') {
        assert(!life.hasStarted, `${event.id} starts twice`)
        assert(!hasPreempted, `${event.id} starts in a step that preempts`)
        this.#checkOrder(life, nowMs, endedNow)
        this.#checkCached(life, event.cachedTokenCount)
        life.hasStarted = true
      } else if (event.kind === 'token') {
        this.#takeToken(life, event)
      } else {
        this.#takeToldPrompt(life, event)
      }
    }
  }

  #takeToken(life: Life, { index, tokenId, logProbs }: Extract<EngineEvent, { kind: 'token' }>): void {
    const { id, promptTokenIds, promptLogprobCount, sampling } = life.request
    assert(life.hasStarted, `${id} has a token before it starts`)
    assert.equal(index, life.answer.length, `I1: ${id} skips or repeats an index`)
    assert.equal(tokenId, life.expected.tokenIds[index], `I14: ${id} differs from alone`)
    const { seed, logprobCount: count } = sampling
    const expected = count === undefined ? undefined : logProbsOf(tokenId, contextHash([...seed, index]), count)
    assert.deepEqual(logProbs, expected, `${id} is told other log probabilities than it asked for`)
    const untold = promptLogprobCount === undefined ? 0 : promptTokenIds.length - life.toldCount
    assert.equal(untold, 0, `${id} has a token before its prompt was told`)
    life.answer.push(tokenId)
    this.#counts.tokens += 1
  }

  #takeToldPrompt(life: Life, { index, logProbs }: Extract<EngineEvent, { kind: 'prompt-logprobs' }>): void {
    const { id, promptTokenIds, promptLogprobCount: count } = life.request
    assert(life.hasStarted && count !== undefined, `${id} is told of its prompt unasked`)
    assert.equal(index, life.toldCount, `${id} is told of its prompt out of order`)
    const expected = logProbsOf(promptTokenIds[index] ?? -1, contextHash(promptTokenIds.slice(0, index)), count)
    assert.deepEqual(logProbs, expected, `${id} is told of another prompt`)
    life.toldCount += 1
    this.#counts.promptTokensTold += 1
  }

  /**
   * Past a cap the first due starts first; else nobody of a later class does before one of an earlier. Whose prompt is to
   * be told is admitted in its turn too, but starts in the next step that tells.
   */
  #checkOrder(life: Life, nowMs: number, endedNow: ReadonlySet<string>): void {
    if (life.request.promptLogprobCount !== undefined) return
    const others = this.lives.filter(
      ({ request, submission, dueMs, hasStarted, end }) =>
        request !== life.request &&
        request.promptLogprobCount === undefined &&
        submission === 'accepted' &&
        dueMs !== Infinity &&
        !hasStarted &&
        end === null &&
        !endedNow.has(request.id),
    )
    const isOverdue = life.dueMs <= nowMs
    for (const other of others) {
      const isInOrder =
        other.dueMs <= nowMs ? isOverdue && isDueBefore(life, other) : isOverdue || classOf(life) <= classOf(other)
      assert(isInOrder, `I15: ${life.request.id} starts before ${other.request.id}, whose turn it was`)
    }
    this.#counts.overdueStarts += isOverdue ? 1 : 0
    this.#counts.overtakings += others.some(({ serial }) => serial < life.serial) ? 1 : 0
  }

  /** Only whole blocks, never the last token, and only what another of the same tenant began with. */
  #checkCached(life: Life, cachedCount: number): void {
    if (cachedCount === 0) return
    const { request } = life
    const known = knownTokens(life, life.answer.length)
    assert(cachedCount <= request.promptTokenIds.length, `${request.id} has more cached tokens than prompt tokens`)
    const isWhole = cachedCount % this.#limits.blockTokens === 0 || cachedCount === request.promptTokenIds.length
    assert(isWhole && cachedCount < known.length, `${request.id} has ${cachedCount} cached tokens`)
    const sources = this.lives.filter(
      (other) =>
        other !== life &&
        other.submission === 'accepted' &&
        other.request.tenantId === request.tenantId &&
        startsAlike(known, knownTokens(other, other.expected.tokenIds.length), cachedCount),
    )
    assert(request.tenantId !== undefined && sources.length > 0, `I14: ${request.id} shares KV with a stranger`)
    const isOfPrompts = sources.some((other) => other.request.promptTokenIds.length >= cachedCount)
    this.#counts[isOfPrompts ? 'promptHits' : 'answerHits'] += 1
  }

  /**
   * Past its age cap a sequence waits for those due before it alone. Each step brings the first of the running forward
   * by a row that it keeps until it ends, unless one due earlier joins, and each joins once: so the rows of all, as often
   * as there are sequences, are enough (four times: a steered one runs in every second step, and every second one tells).
   */
  checkNoneStarves(tick: number, msPerTick: number): void {
    const open = this.lives.filter(({ submission, end }) => submission === 'accepted' && end === null)
    for (const life of open) {
      if (life.lastTick === Infinity) {
        const rows = this.lives.reduce((sum, { request, expected }) => {
          return sum + request.promptTokenIds.length + expected.tokenIds.length + 2
        }, 0)
        life.lastTick = Math.max(tick, Math.ceil(life.dueMs / msPerTick)) + 4 * rows * (this.lives.length + 1)
      }
      assert(tick < life.lastTick, `I15: ${life.request.id} starves`)
    }
  }

  /** Prefills within a chunk's rows; isolated ones alone; every sample asked for and read what it has alone. */
  checkStep(step: FakeStep): void {
    const { sequences } = step.batch
    const prefills = sequences.filter(({ tokenIds }) => tokenIds.length > 1)
    const rowCount = prefills.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)
    assert(rowCount <= this.#options.prefillRowsMax, `A step prefills ${rowCount} rows`)
    this.#counts.sharedChunks += prefills.length > 1 ? 1 : 0
    checkComputedOnce(step, this.lives, this.#limits.blockTokens)
    for (const [group, { start, tokenIds, sampler }] of sequences.entries()) {
      if (sampler === null) {
        this.#counts.cutBlocks += (start + tokenIds.length) % this.#limits.blockTokens === 0 ? 0 : 1
        continue
      }
      const life = this.#lifeOf(sampler.seed[1])
      const { request, expected } = life
      life.sampleCount += 1
      // A row too many behind logits that were not finite: nobody's, and never told.
      if (sampler.index > expected.tokenIds.length) {
        assert.equal(expected.reason, 'not-finite', `${request.id} samples beyond its end`)
        continue
      }
      const context = knownTokens(life, sampler.index)
      assert.equal(start + tokenIds.length, context.length, `${request.id} samples index ${sampler.index} elsewhere`)
      assert.equal(step.contexts[group], contextHash(context), `I14: ${request.id} reads another context than alone`)
      assert(!request.isolated || sequences.length === 1, `${request.id} is isolated and has company`)
      if (request.sampling.penalties === undefined) continue
      checkPenalties(life, sampler)
      this.#counts.penalised += 1
    }
  }

  /**
   * Who got a token that is not its last gets a row in the next step that tells no prompt, unless the host must steer, or
   * blocks ran out: then those left out are due after all that go on. No second step tells while one of them could run.
   */
  checkNoDecodeWaits(before: FakeStep, step: FakeStep, hasPreempted: boolean, hasJustTold: boolean): void {
    const served = new Set(step.batch.sequences.map(({ sampler }) => sampler?.seed[1]))
    const sampledBefore = before.batch.sequences.flatMap(({ sampler }) => sampler ?? [])
    const goingOn = sampledBefore.filter(({ seed: [, number] }) => served.has(number))
    for (const { seed, index } of sampledBefore) {
      const life = this.#lifeOf(seed[1])
      const isLast = index + 1 >= life.expected.tokenIds.length
      const mustWait = needsEveryToken(life) && this.#limits.stepsInFlightMax === 2 && !hasJustTold
      if (served.has(seed[1]) || life.end !== null || isLast || mustWait) continue
      assert(hasPreempted, `${life.request.id} decodes and was left out of a step`)
      for (const other of goingOn.map((row) => this.#lifeOf(row.seed[1])))
        assert(isDueBefore(other, life), `${life.request.id} was preempted before ${other.request.id}`)
    }
  }

  /** The host cannot steer by a token it does not know; and nobody is fed a token behind which nothing comes. */
  checkFed({ sequences }: Batch): void {
    for (const { sampler, fedFrom } of sequences) {
      if (fedFrom === undefined || sampler === null) continue
      const life = this.#lifeOf(sampler.seed[1])
      const { request } = life
      const answerCountMax = Math.min(request.answerTokensMax, this.#engine.tokensMax - request.promptTokenIds.length)
      assert(!needsEveryToken(life), `${request.id} needs every token and was fed`)
      assert(sampler.index < answerCountMax, `${request.id} was fed its last token`)
      this.#counts.fedRows += 1
    }
  }

  checkEnds(): void {
    const rowsTooMany = this.#limits.stepsInFlightMax === 2 ? 1 : 0
    for (const { request, submission, expected, answer, asked, end, sampleCount } of this.lives) {
      const { id, resumedTokenIds = [] } = request
      if (submission !== 'accepted') {
        assert.equal(end, null)
        continue
      }
      assert(end !== null, `${id} never ended`)
      const isWhole = answer.length === expected.tokenIds.length && end === expected.reason
      const isAskedFor = (asked !== null && end === asked) || (this.#isDrained && end === 'handed-back')
      assert(isWhole || isAskedFor, `${id} ended with ${end} after ${answer.length} tokens`)
      const untold = sampleCount - (answer.length - resumedTokenIds.length) - (end === 'not-finite' ? 1 : 0)
      assert(untold <= rowsTooMany, `${id} cost ${untold} steps that were discarded`)
      this.#counts.discardedRows += untold
    }
  }

  #lifeOf(number: number): Life {
    const life = this.lives[number]
    assert(life !== undefined)
    return life
  }
}

/** The host must know a token before the next can be sampled. */
function needsEveryToken({ request }: Life): boolean {
  return request.steer !== undefined || request.sampling.penalties !== undefined
}

function classOf({ request }: Life): number {
  return serviceClasses.indexOf(request.serviceClass ?? 'interactive')
}

function isDueBefore(a: Life, b: Life): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.serial < b.serial)
}

/** Prompt and the first tokens of the answer. */
function knownTokens({ request, expected }: Life, answerCount: number): number[] {
  return [...request.promptTokenIds, ...expected.tokenIds.slice(0, answerCount)]
}

function startsAlike(a: readonly number[], b: readonly number[], count: number): boolean {
  return b.length >= count && a.slice(0, count).every((token, at) => token === b[at])
}
