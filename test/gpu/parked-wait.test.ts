/** parkedWait: a process that awaits its own cores leaves them the time, and still serves everything else. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { parkedWait } from '../../gpu-worker/gpu/parked-wait.ts'

/** Turns of the event loop until `answer` settles: as Dawn's binding makes them. */
async function turnsUntil(answer: Promise<unknown>): Promise<number> {
  const state = { isSettled: false }
  const settle = (): void => {
    state.isSettled = true
  }
  answer.then(settle, settle)
  let turns = 0
  for (; !state.isSettled; turns += 1) await nextTurn()
  return turns
}

const afterMs = (ms: number): Promise<string> => new Promise((resolve) => setTimeout(resolve, ms, 'answer'))

it('gives the answer, or its error', async () => {
  expect(await parkedWait(afterMs(1))).toBe('answer')
  await expect(parkedWait(Promise.reject(new Error('lost')))).rejects.toThrow('lost')
})

/** A turn's rest, less what a clock may be off. */
const restMs = 0.09

it('each turn of the loop rests, once however many wait, and none does when nobody waits', async () => {
  const startedAt = performance.now()
  const turns = await turnsUntil(Promise.all([50, 40, 30].map((ms) => parkedWait(afterMs(ms)))))
  const elapsedMs = performance.now() - startedAt
  expect(turns).toBeGreaterThan(1)
  // The first and the last may fall outside.
  expect((turns - 2) * restMs).toBeLessThanOrEqual(elapsedMs)
  const restless = []
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const from = performance.now()
    for (let turn = 0; turn < 100; turn += 1) await nextTurn()
    restless.push(performance.now() - from)
  }
  expect(Math.min(...restless), 'negative control').toBeLessThan(100 * restMs)
})
