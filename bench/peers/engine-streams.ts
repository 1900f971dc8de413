/**
 * Streams through the engine for `bench peers`: how fast they decode side by side, and how soon a prompt is read.
 *
 * It does not know whom the engine is compared with.
 */
import assert from 'node:assert/strict'
import type { Engine } from '../../gpu-worker/engine/engine.ts'

/** Milliseconds between two steps in which every stream got a token: the median and the sum of them. */
export interface DecodeTimes {
  readonly stepMs: number
  /** Of a step, until the Runner has it: planning, packing, encoding, submitting. */
  readonly hostMs: number
  /** By stream: the tokens of the answer up to the end of the measurement. */
  readonly tokens: readonly (readonly number[])[]
}

/**
 * All streams decode; `stepCount` steps are timed from the one on in which the last of them had its first token.
 *
 * @param tenantId a prompt asked before by this tenant is found in the cache: the streams then start close together.
 */
export async function decode(
  engine: Engine,
  prompts: readonly (readonly number[])[],
  stepCount: number,
  tenantId: string,
): Promise<DecodeTimes> {
  const tokens = prompts.map((): number[] => [])
  // The first stream has a token for every later stream's prefill step before the measurement begins.
  const answerTokensMax = stepCount + prompts.length + 1
  for (const [stream, promptTokenIds] of prompts.entries())
    submit(engine, `${stream}`, { promptTokenIds, answerTokensMax, tenantId })
  const stamps: number[] = []
  let hostMs = 0
  while (stamps.length <= stepCount) {
    const startedMs = performance.now()
    const stepping = engine.step()
    if (stamps.length > 0) hostMs += performance.now() - startedMs
    for (const event of await stepping) if (event.kind === 'token') tokens[Number(event.id)]?.push(event.tokenId)
    if (tokens.every((answer) => answer.length > 0)) stamps.push(performance.now())
  }
  for (const stream of prompts.keys()) engine.cancel(`${stream}`)
  while (engine.hasWork) await engine.step()
  return { stepMs: ((stamps.at(-1) ?? NaN) - (stamps[0] ?? NaN)) / stepCount, hostMs: hostMs / stepCount, tokens }
}

export interface PrefillTime {
  /** Milliseconds from the first step to the last prompt's first token. */
  readonly ms: number
  /** By prompt: its first token. */
  readonly tokens: readonly number[]
}

/** Nothing of a prompt is in the cache. */
export async function prefill(engine: Engine, prompts: readonly (readonly number[])[]): Promise<PrefillTime> {
  const tokens: number[] = []
  for (const [stream, promptTokenIds] of prompts.entries())
    submit(engine, `${stream}`, { promptTokenIds, answerTokensMax: 1 })
  const startedMs = performance.now()
  while (engine.hasWork) {
    for (const event of await engine.step()) if (event.kind === 'token') tokens[Number(event.id)] = event.tokenId
  }
  return { ms: performance.now() - startedMs, tokens }
}

function submit(
  engine: Engine,
  id: string,
  request: { readonly promptTokenIds: readonly number[]; readonly answerTokensMax: number; readonly tenantId?: string },
): void {
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] } as const
  assert.equal(engine.submit({ id, ...request, sampling, stopTokenIds: [] }).kind, 'accepted', 'Cannot start a stream')
}
