/**
 * One seeded life of an engine over the fake Runner: sequences arrive, are cancelled, finished, preempted, run out of
 * blocks, stop, break, and are compared with what each would get alone. Throws at the first broken promise.
 *
 * It knows what must come out, never how the engine gets there: the oracle is the request and `FakeRunner.tokenAt`.
 */
import assert from 'node:assert/strict'
import { Engine, type EngineEvent } from '../../gpu-worker/engine/engine.ts'
import type { Runner, RunnerLimits } from '../../gpu-worker/engine/runner.ts'
import type { EndReason, SequenceRequest } from '../../gpu-worker/engine/sequence.ts'
import { contextHash, FakeRunner, type FakeStep } from '../fake-runner.ts'
import { dice, type Dice } from '../fixtures/dice.ts'

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
  ends: Record<EndReason, number>
}

export interface SimulationOptions {
  /** Puts something between engine and fake: the negative controls break it here. */
  readonly wrap?: (runner: Runner) => Runner
}

/** A sequence's script and what was seen of it. */
interface Life {
  readonly request: SequenceRequest
  readonly expected: { readonly tokenIds: readonly number[]; readonly reason: EndReason }
  /** Answer tokens known to be right, resumed ones first. */
  readonly answer: number[]
  submission: 'none' | 'accepted' | 'refused'
  /** Order of submission. */
  serial: number
  /** The step by which it has ended at the latest: set when it is accepted. */
  lastTick: number
  asked: 'cancelled' | 'stop' | null
  end: EndReason | null
}

const stopTokenId = 0
const vocabSize = 64
const sampling = { temperature: 1, topK: 0, topP: 1, minP: 0 }

export function emptyCounts(): SimulationCounts {
  const ends = { stop: 0, length: 0, cancelled: 0, 'not-finite': 0 }
  return { steps: 0, tokens: 0, preemptions: 0, refusals: 0, resumptions: 0, isolations: 0, cutBlocks: 0, ends }
}

/** Runs the life of this seed to its end and adds to `counts`. */
export async function simulate(seed: number, counts: SimulationCounts, options: SimulationOptions = {}): Promise<void> {
  const draw = dice(seed)
  const limits: RunnerLimits = {
    rowsMax: draw(1, 24),
    sequencesMax: draw(1, 8),
    blockTokens: draw(1, 8),
    blockCount: draw(3, draw(4, 20)),
    contextTokensMax: draw(4, 64),
    vocabSize,
  }
  const lives: Life[] = []
  const scripts = new Map<number, { stop: number; broken: number }>()
  const steps: FakeStep[] = []
  let half = 0
  let submissionCount = 0
  const fake = new FakeRunner({
    limits,
    stopTokenId,
    stopIndex: ([, number]) => scripts.get(number)?.stop ?? null,
    isNotFinite: ([, number], index) => scripts.get(number)?.broken === index,
    onStep: (step) => steps.push(step),
    wait: async () => play((half += 1)),
  })
  const engine = new Engine(options.wrap?.(fake) ?? fake, { prefillRowsMax: draw(1, 32) })

  // Things happen at half steps: even ones between two steps, odd ones while a step runs.
  const script: { readonly half: number; readonly act: () => void }[] = []
  const play = (now: number) => {
    while (script[0] !== undefined && script[0].half <= now) script.shift()?.act()
  }
  for (let number = 0, count = draw(1, 12); number < count; number += 1) {
    scripts.set(number, { stop: draw.chance(0.5) ? draw(0, 20) : -1, broken: draw.chance(0.05) ? draw(0, 10) : -1 })
    const life = newLife(fake, engine.tokensMax, number, draw, scripts.get(number)?.broken ?? -1)
    const arrival = draw(0, 60)
    lives.push(life)
    const act = () => {
      life.serial = submissionCount += 1
      submit(engine, life, counts)
    }
    script.push({ half: arrival, act })
    if (draw.chance(0.15)) script.push({ half: arrival + draw(0, 40), act: () => ask(engine, life, 'cancelled') })
    if (draw.chance(0.1)) script.push({ half: arrival + draw(0, 40), act: () => ask(engine, life, 'stop') })
  }
  script.sort((a, b) => a.half - b.half)

  for (let tick = 0; script.length > 0 || engine.hasWork; tick += 1) {
    half = tick * 2
    play(half)
    const due = lives.filter(
      ({ submission, asked, end }) => submission === 'accepted' && asked !== null && end === null,
    )
    const sampledBefore = steps.at(-1)
    const preemptionsBefore = engine.stats().preemptionCount
    const stepCount = steps.length
    const events = await engine.step()
    engine.checkIntegrity()
    const step = steps.length > stepCount ? steps.at(-1) : undefined
    takeEvents(lives, events, counts)
    checkNoneStarves(lives, tick)
    for (const { end, request } of due)
      assert(end !== null, `${request.id} outlives the step after its end was asked for`)
    for (const { request } of due)
      assert(!hasToken(events, request.id), `${request.id} goes on after its end was asked for`)
    if (step === undefined) continue
    checkStep(step, lives, limits, counts)
    if (engine.stats().preemptionCount === preemptionsBefore) checkNoDecodeWaits(sampledBefore, step, lives)
  }
  for (const life of lives) checkEnd(life)
  counts.steps += steps.length
  counts.preemptions += engine.stats().preemptionCount
}

function newLife(fake: FakeRunner, tokensMax: number, number: number, draw: Dice, brokenIndex: number): Life {
  const { contextTokensMax } = fake.limits
  const promptCount = draw.chance(0.85) ? draw(1, Math.ceil(tokensMax / 4)) : draw(1, contextTokensMax + 2)
  const promptTokenIds = Array.from({ length: promptCount }, () => draw(0, vocabSize - 1))
  const answerTokensMax = draw(1, 30)
  const seed = [1, number] as const
  // What the sequence gets alone, written down without an engine.
  const tokenIds: number[] = []
  let reason: EndReason = 'length'
  while (tokenIds.length < Math.min(answerTokensMax, tokensMax - promptCount) && reason === 'length') {
    const index = tokenIds.length
    if (index === brokenIndex) {
      reason = 'not-finite'
      break
    }
    tokenIds.push(fake.tokenAt(seed, index))
    if (tokenIds.at(-1) === stopTokenId) reason = 'stop'
  }
  const resumedTokenIds = draw.chance(0.25) ? tokenIds.slice(0, draw(0, tokenIds.length)) : []
  const request = {
    id: `sequence-${number}`,
    promptTokenIds,
    resumedTokenIds,
    sampling: { ...sampling, seed },
    stopTokenIds: [stopTokenId],
    answerTokensMax,
    isolated: draw.chance(0.05),
  }
  return {
    request,
    expected: { tokenIds, reason },
    answer: [...resumedTokenIds],
    submission: 'none',
    serial: 0,
    lastTick: Infinity,
    asked: null,
    end: null,
  }
}

function submit(engine: Engine, life: Life, counts: SimulationCounts): void {
  const { request } = life
  const submission = engine.submit(request)
  life.submission = submission.kind
  const canFit = request.promptTokenIds.length < engine.tokensMax
  assert.equal(
    submission.kind,
    canFit ? 'accepted' : 'refused',
    `${request.id} of ${request.promptTokenIds.length} tokens`,
  )
  counts.refusals += canFit ? 0 : 1
  counts.resumptions += (request.resumedTokenIds?.length ?? 0) > 0 ? 1 : 0
  counts.isolations += request.isolated ? 1 : 0
}

function ask(engine: Engine, life: Life, end: 'cancelled' | 'stop'): void {
  if (end === 'cancelled') engine.cancel(life.request.id)
  else engine.finish(life.request.id)
  if (life.submission === 'accepted' && life.end === null) life.asked ??= end
}

function takeEvents(lives: readonly Life[], events: readonly EngineEvent[], counts: SimulationCounts): void {
  for (const event of events) {
    const life = lives.find(({ request }) => request.id === event.id)
    assert(life?.submission === 'accepted', `An event of ${event.id}, which was not accepted`)
    assert.equal(life.end, null, `${event.id} goes on after its end`)
    if (event.kind === 'end') {
      life.end = event.reason
      counts.ends[event.reason] += 1
      continue
    }
    assert.equal(event.index, life.answer.length, `I1: ${event.id} skips or repeats an index`)
    assert.equal(event.tokenId, life.expected.tokenIds[event.index], `I14: ${event.id} differs from alone`)
    life.answer.push(event.tokenId)
    counts.tokens += 1
  }
}

/**
 * Every step brings the oldest sequence forward by a row that it keeps. So a sequence ends at the latest after as many
 * steps as it and its elders have rows, plus the step that picks it up.
 */
function checkNoneStarves(lives: readonly Life[], tick: number): void {
  const open = lives.filter(({ submission, end }) => submission === 'accepted' && end === null)
  for (const life of open) {
    if (life.lastTick === Infinity)
      life.lastTick =
        tick + 1 + open.filter((elder) => elder.serial <= life.serial).reduce((rows, elder) => rows + rowsOf(elder), 0)
    assert(tick < life.lastTick, `I15: ${life.request.id} starves`)
  }
}

function rowsOf({ request, expected }: Life): number {
  return request.promptTokenIds.length + expected.tokenIds.length
}

/** One prefill chunk at most, behind all decodes; isolated ones alone; every sample read the context it has alone. */
function checkStep(
  { batch, contexts }: FakeStep,
  lives: readonly Life[],
  limits: RunnerLimits,
  counts: SimulationCounts,
): void {
  const { sequences } = batch
  const chunk = sequences.findIndex(({ tokenIds }) => tokenIds.length > 1)
  assert(chunk === -1 || chunk === sequences.length - 1, 'A step has more than one prefill chunk, or decodes behind it')
  for (const [group, { start, tokenIds, sampler }] of sequences.entries()) {
    if (sampler === null) counts.cutBlocks += (start + tokenIds.length) % limits.blockTokens === 0 ? 0 : 1
    if (sampler === null) continue
    const life = lives[sampler.seed[1]]
    assert(life !== undefined)
    const { request, expected } = life
    const context = [...request.promptTokenIds, ...expected.tokenIds.slice(0, sampler.index)]
    assert.equal(start + tokenIds.length, context.length, `${request.id} samples index ${sampler.index} elsewhere`)
    assert.equal(contexts[group], contextHash(context), `I14: ${request.id} reads another context than alone`)
    assert(!request.isolated || sequences.length === 1, `${request.id} is isolated and has company`)
  }
}

/** Who got a token and did not end gets a row in the next step, unless blocks ran out. */
function checkNoDecodeWaits(before: FakeStep | undefined, step: FakeStep, lives: readonly Life[]): void {
  const served = new Set(step.batch.sequences.map(({ sampler }) => sampler?.seed[1]))
  for (const { sampler } of before?.batch.sequences ?? []) {
    if (sampler === null) continue
    const life = lives[sampler.seed[1]]
    assert(served.has(sampler.seed[1]) || life?.end !== null, `${life?.request.id} decodes and was left out of a step`)
  }
}

function checkEnd({ request, submission, expected, answer, asked, end }: Life): void {
  if (submission === 'refused') return assert.equal(end, null)
  assert(end !== null, `${request.id} never ended`)
  const isWhole = answer.length === expected.tokenIds.length && end === expected.reason
  assert(isWhole || (asked !== null && end === asked), `${request.id} ended with ${end} after ${answer.length} tokens`)
}

function hasToken(events: readonly EngineEvent[], id: string): boolean {
  return events.some((event) => event.kind === 'token' && event.id === id)
}
