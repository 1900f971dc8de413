/**
 * What is seen of a simulated life from outside, and every promise that can be judged from there.
 *
 * It sees requests, events and the Runner's steps, never the engine's insides.
 */
import assert from 'node:assert/strict'
import type { AgeCapsMs } from '../../gpu-worker/engine/admission.ts'
import type { Batch } from '../../gpu-worker/engine/batch.ts'
import type { Engine, EngineEvent } from '../../gpu-worker/engine/engine.ts'
import type { RunnerLimits } from '../../gpu-worker/engine/runner.ts'
import { type EndReason, serviceClasses } from '../../gpu-worker/engine/sequence.ts'
import { contextHash, type FakeStep } from '../fake-runner.ts'
import type { Life } from './simulated-lives.ts'

/** What a life went through, to show that a number of lives left nothing out. */
export interface SimulationCounts {
  steps: number
  tokens: number
  preemptions: number
  refusals: number
  resumptions: number
  isolations: number
  /** Prefill chunks that end inside a block. */
  cutBlocks: number
  /** Starts with cached tokens: of prompts alone, and of answers too. */
  promptHits: number
  answerHits: number
  /** Starts past the age cap, and starts that passed an older one by. */
  overdueStarts: number
  overtakings: number
  /** Rows fed on the GPU, and rows too many behind an end. */
  fedRows: number
  discardedRows: number
  drains: number
  ends: Record<EndReason, number>
}

export function emptyCounts(): SimulationCounts {
  const ends = { stop: 0, length: 0, cancelled: 0, 'not-finite': 0, 'handed-back': 0 }
  const hits = { promptHits: 0, answerHits: 0, overdueStarts: 0, overtakings: 0, fedRows: 0, discardedRows: 0 }
  const lives = { refusals: 0, resumptions: 0, isolations: 0, cutBlocks: 0, drains: 0 }
  return { steps: 0, tokens: 0, preemptions: 0, ...lives, ...hits, ends }
}

export class World {
  readonly lives: Life[] = []
  readonly #limits: RunnerLimits
  readonly #engine: Engine
  readonly #ageCapsMs: AgeCapsMs
  readonly #counts: SimulationCounts
  #submissionCount = 0
  #isDrained = false

  constructor(limits: RunnerLimits, engine: Engine, ageCapsMs: AgeCapsMs, counts: SimulationCounts) {
    this.#limits = limits
    this.#engine = engine
    this.#ageCapsMs = ageCapsMs
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
      life.dueMs = Math.min(arrivedMs, nowMs) + this.#ageCapsMs[serviceClass]
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
        assert(life.hasStarted, `${event.id} has a token before it starts`)
        assert.equal(event.index, life.answer.length, `I1: ${event.id} skips or repeats an index`)
        assert.equal(event.tokenId, life.expected.tokenIds[event.index], `I14: ${event.id} differs from alone`)
        life.answer.push(event.tokenId)
        this.#counts.tokens += 1
      }
    }
  }

  /** Past a cap the first due starts first; else nobody of a later class does before one of an earlier. */
  #checkOrder(life: Life, nowMs: number, endedNow: ReadonlySet<string>): void {
    const others = this.lives.filter(
      ({ request, submission, dueMs, hasStarted, end }) =>
        request !== life.request &&
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
   * as there are sequences, are enough (twice: a steered one runs in every second step).
   */
  checkNoneStarves(tick: number, msPerTick: number): void {
    const open = this.lives.filter(({ submission, end }) => submission === 'accepted' && end === null)
    for (const life of open) {
      if (life.lastTick === Infinity) {
        const rows = this.lives.reduce((sum, { request, expected }) => {
          return sum + request.promptTokenIds.length + expected.tokenIds.length + 2
        }, 0)
        life.lastTick = Math.max(tick, Math.ceil(life.dueMs / msPerTick)) + 2 * rows * (this.lives.length + 1)
      }
      assert(tick < life.lastTick, `I15: ${life.request.id} starves`)
    }
  }

  /** One prefill chunk at most, behind all decodes; isolated ones alone; every sample read the context it has alone. */
  checkStep({ batch, contexts }: FakeStep): void {
    const { sequences } = batch
    const chunk = sequences.findIndex(({ tokenIds }) => tokenIds.length > 1)
    assert(chunk === -1 || chunk === sequences.length - 1, 'A step has two prefill chunks, or decodes behind one')
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
      assert.equal(contexts[group], contextHash(context), `I14: ${request.id} reads another context than alone`)
      assert(!request.isolated || sequences.length === 1, `${request.id} is isolated and has company`)
    }
  }

  /**
   * Who got a token that is not its last gets a row in the next step, unless the host must steer, or blocks ran out: then
   * those left out are due after all that go on.
   */
  checkNoDecodeWaits(before: FakeStep | undefined, step: FakeStep, hasPreempted: boolean): void {
    const served = new Set(step.batch.sequences.map(({ sampler }) => sampler?.seed[1]))
    const sampledBefore = (before?.batch.sequences ?? []).flatMap(({ sampler }) => sampler ?? [])
    const goingOn = sampledBefore.filter(({ seed: [, number] }) => served.has(number))
    for (const { seed, index } of sampledBefore) {
      const life = this.#lifeOf(seed[1])
      const isLast = index + 1 >= life.expected.tokenIds.length
      const isSteered = life.request.isSteered && this.#limits.stepsInFlightMax === 2
      if (served.has(seed[1]) || life.end !== null || isLast || isSteered) continue
      assert(hasPreempted, `${life.request.id} decodes and was left out of a step`)
      for (const other of goingOn.map((row) => this.#lifeOf(row.seed[1])))
        assert(isDueBefore(other, life), `${life.request.id} was preempted before ${other.request.id}`)
    }
  }

  /** The host cannot steer by a token it does not know; and nobody is fed a token behind which nothing comes. */
  checkFed({ sequences }: Batch): void {
    for (const { sampler, fedFrom } of sequences) {
      if (fedFrom === undefined || sampler === null) continue
      const { request } = this.#lifeOf(sampler.seed[1])
      const answerCountMax = Math.min(request.answerTokensMax, this.#engine.tokensMax - request.promptTokenIds.length)
      assert(!request.isSteered, `${request.id} is steered and was fed`)
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
