/**
 * The first tokens of a process, through the same engine that will serve: proof that the model runs, and how fast.
 *
 * It does not know jobs; what is generated is thrown away.
 */
import assert from 'node:assert/strict'
import type { Engine } from './engine/engine.ts'
import { CheckpointError } from './model/checkpoint-error.ts'
import type { ModelText } from './model/model-text.ts'

const warmUpTokens = 4

/** Runs the idle engine until a short answer ends. @returns ms to the first token. @throws StepFailed, CheckpointError. */
export async function warmUp(engine: Engine, text: ModelText): Promise<number> {
  const startedAt = performance.now()
  let firstTokenMs: number | null = null
  const submission = engine.submit({
    id: 'warm-up',
    promptTokenIds: text.promptTokens({ messages: [{ role: 'user', content: 'Hello' }], think: false }),
    sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] },
    stopTokenIds: text.stopTokenIds,
    answerTokensMax: warmUpTokens,
  })
  assert(submission.kind === 'accepted', 'The context holds a greeting')
  while (engine.hasWork) {
    for (const event of await engine.step()) {
      if (event.kind === 'token') firstTokenMs ??= performance.now() - startedAt
      if (event.kind === 'end' && event.reason === 'not-finite')
        throw new CheckpointError('the weights', 'what the model computes with them is NaN or infinite')
    }
  }
  engine.checkIntegrity()
  assert(firstTokenMs !== null, 'The warm-up made a token')
  return firstTokenMs
}
