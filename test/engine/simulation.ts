/**
 * One seeded life of an engine over the fake Runner: sequences of several tenants arrive, share prefixes, are cancelled,
 * finished, preempted, drained, run out of blocks, stop, break, and are compared with what each would get alone. Throws
 * at the first broken promise.
 *
 * It knows what must come out, never how the engine gets there: the oracle is the request and `FakeRunner.tokenAt`.
 */
import assert from 'node:assert/strict'
import { Engine, type EngineEvent, type EngineOptions } from '../../gpu-worker/engine/engine.ts'
import type { Runner, RunnerLimits } from '../../gpu-worker/engine/runner.ts'
import { FakeRunner, type FakeStep } from '../fake-runner.ts'
import { dice } from '../fixtures/dice.ts'
import { castLives, stopTokenId, vocabSize } from './simulated-lives.ts'
import { World } from './simulated-world.ts'
import type { SimulationCounts } from './simulation-counts.ts'

export interface SimulationOptions {
  /** Puts something between engine and fake: some negative controls break it here. */
  readonly wrap?: (runner: Runner) => Runner
  /** Another engine than ours: the other negative controls are copies with one rule broken. */
  readonly engine?: typeof Engine
}

const scheduleMs = { perTick: [1, 20], caps: [0, 400] } as const

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
    stepsInFlightMax: draw.chance(0.5) ? 2 : 1,
  }
  const steps: FakeStep[] = []
  let half = 0
  const scripts = new Map<number, { readonly stop: number; readonly broken: number }>()
  const fake = new FakeRunner({
    limits,
    stopTokenId,
    stopIndex: ([, number]) => scripts.get(number)?.stop ?? null,
    isNotFinite: ([, number], index) => scripts.get(number)?.broken === index,
    onStep: (step) => steps.push(step),
    wait: async () => play((half += 1)),
  })
  const ageCapsMs = {
    interactive: draw(...scheduleMs.caps),
    think: draw(...scheduleMs.caps),
    batch: draw(...scheduleMs.caps),
  }
  /** Of each step in the order given: preemptions until then. One may be planned that leaves nothing to run. */
  const preemptionsUntil: number[] = []
  const runner = options.wrap?.(fake) ?? fake
  const counted: Runner = {
    limits,
    fingerprint: runner.fingerprint,
    run: (batch) => {
      preemptionsUntil.push(engine.stats().preemptionCount)
      world.checkFed(batch)
      return runner.run(batch)
    },
    close: () => runner.close(),
  }
  const engineOptions: Required<EngineOptions> = {
    prefillRowsMax: draw(1, 32),
    ageCapsMs,
    onBlocksFreed: (blocks) => fake.poisonBlocks(blocks),
  }
  const engine = new (options.engine ?? Engine)(counted, engineOptions)
  const world = new World(limits, engine, engineOptions, counts)

  // Things happen at half steps: even ones between two steps, odd ones while a step runs.
  const script: { readonly half: number; readonly act: () => void }[] = []
  const play = (now: number) => {
    while (script[0] !== undefined && script[0].half <= now) script.shift()?.act()
  }
  for (const life of castLives(draw, fake, engine.tokensMax, scripts)) {
    world.lives.push(life)
    script.push({ half: life.arrivalHalf, act: () => world.submit(life) })
    if (draw.chance(0.15))
      script.push({ half: life.arrivalHalf + draw(0, 40), act: () => world.ask(life, 'cancelled') })
    if (draw.chance(0.1)) script.push({ half: life.arrivalHalf + draw(0, 40), act: () => world.ask(life, 'stop') })
  }
  if (draw.chance(0.1)) script.push({ half: draw(0, 80), act: () => world.drain() })
  script.sort((a, b) => a.half - b.half)

  const msPerTick = draw(...scheduleMs.perTick)
  let stepCount = 0
  /** The last step in which decodes could run. */
  let ordinary: { readonly step: FakeStep; readonly preemptionCount: number | undefined } | null = null
  for (let tick = 0; script.length > 0 || engine.hasWork; tick += 1) {
    half = tick * 2
    play(half)
    const nowMs = tick * msPerTick
    world.pickUp(nowMs)
    const due = world.lives.filter(
      ({ submission, asked, end }) => submission === 'accepted' && asked !== null && end === null,
    )
    const preemptionsBefore = engine.stats().preemptionCount
    const events = await engine.step(nowMs)
    engine.checkIntegrity()
    world.takeEvents(events, nowMs, engine.stats().preemptionCount > preemptionsBefore)
    world.checkNoneStarves(tick, msPerTick)
    for (const { end, request } of due) {
      assert(end !== null, `${request.id} outlives the step after its end was asked for`)
      assert(!hasToken(events, request.id), `${request.id} goes on after its end was asked for`)
    }
    for (; stepCount < steps.length; stepCount += 1) {
      const step = steps[stepCount]
      assert(step !== undefined)
      world.checkStep(step)
      const preemptionCount = preemptionsUntil[stepCount]
      const isTelling = step.batch.sequences.some(({ promptLogprobs }) => promptLogprobs !== undefined)
      const hasJustTold = ordinary?.step !== steps[stepCount - 1]
      if (ordinary !== null && (!isTelling || hasJustTold))
        world.checkNoDecodeWaits(ordinary.step, step, preemptionCount !== ordinary.preemptionCount, hasJustTold)
      if (!isTelling) ordinary = { step, preemptionCount }
    }
  }
  world.checkEnds()
  assert(!engine.hasWork)
  engine.checkIntegrity()
  counts.steps += steps.length
  counts.preemptions += engine.stats().preemptionCount
}

function hasToken(events: readonly EngineEvent[], id: string): boolean {
  return events.some((event) => event.kind === 'token' && event.id === id)
}
