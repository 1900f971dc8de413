/** An engine over the fake Runner and what tests ask of it. */
import { Engine, type EngineEvent, type EngineOptions } from '../../gpu-worker/engine/engine.ts'
import type { SequenceRequest } from '../../gpu-worker/engine/sequence.ts'
import { FakeRunner, type FakeRunnerOptions, type FakeStep, type Seed } from '../fake-runner.ts'

export const stopTokenId = 0
export const seed: Seed = [1, 1]
export const fullSize = {
  rowsMax: 16,
  sequencesMax: 4,
  blockTokens: 4,
  blockCount: 16,
  contextTokensMax: 32,
  vocabSize: 64,
  stepsInFlightMax: 1,
} as const

export function request(id: string, changes: Partial<SequenceRequest> = {}): SequenceRequest {
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed }
  return { id, promptTokenIds: [1, 2, 3], sampling, stopTokenIds: [stopTokenId], answerTokensMax: 4, ...changes }
}

export function setup(options: FakeRunnerOptions = {}, engineOptions: EngineOptions = {}) {
  const steps: FakeStep[] = []
  const limits = { ...fullSize, ...options.limits }
  const runner = new FakeRunner({ stopTokenId, onStep: (step) => steps.push(step), ...options, limits })
  return { runner, steps, engine: new Engine(runner, engineOptions) }
}

/** Steps until nothing is left; the integrity is checked after each step. Without starts. */
export async function drain(engine: Engine): Promise<EngineEvent[]> {
  return (await wholeLife(engine)).filter(({ kind }) => kind !== 'start')
}

export async function wholeLife(engine: Engine): Promise<EngineEvent[]> {
  const events: EngineEvent[] = []
  while (engine.hasWork) {
    events.push(...(await engine.step()))
    engine.checkIntegrity()
  }
  return events
}

export function cachedOf(events: readonly EngineEvent[], id: string): number[] {
  return events.flatMap((event) => (event.kind === 'start' && event.id === id ? [event.cachedTokenCount] : []))
}

export function tokensOf(events: readonly EngineEvent[], id: string): number[] {
  return events.flatMap((event) => (event.kind === 'token' && event.id === id ? [event.tokenId] : []))
}

export function endsOf(events: readonly EngineEvent[], id: string): string[] {
  return events.flatMap((event) => (event.kind === 'end' && event.id === id ? [event.reason] : []))
}

export function prompt(count: number): number[] {
  return Array.from({ length: count }, () => 1)
}
