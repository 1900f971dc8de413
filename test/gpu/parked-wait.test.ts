/** parkedWait: a process that awaits its own cores leaves them the time, and still serves everything else. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { parkedWait } from '../../gpu-worker/gpu/parked-wait.ts'

/** Turns of the event loop until `answer` settles: as Dawn's binding makes them. */
async function turnsUntil(answer: Promise<unknown>): Promise<number> {
  let isSettled = false
  const settle = (): void => {
    isSettled = true
  }
  answer.then(settle, settle)
  let turns = 0
  for (; !isSettled; turns += 1) await nextTurn()
  return turns
}

const afterMs = (ms: number): Promise<string> => new Promise((resolve) => setTimeout(resolve, ms, 'answer'))

it('gives the answer, or its error', async () => {
  expect(await parkedWait(afterMs(1))).toBe('answer')
  await expect(parkedWait(Promise.reject(new Error('lost')))).rejects.toThrow('lost')
})

it('turns the loop a few hundred times in 50 ms, however many wait, and freely again when nobody does', async () => {
  const waits = Promise.all([parkedWait(afterMs(50)), parkedWait(afterMs(50)), parkedWait(afterMs(50))])
  const rested = await turnsUntil(waits)
  expect(rested).toBeGreaterThan(1)
  // A turn rests for 0.1 ms at least.
  expect(rested).toBeLessThanOrEqual((2 * 50) / 0.1)
  await nextTurn()
  const startedAt = performance.now()
  for (let turn = 0; turn < 2000; turn += 1) await nextTurn()
  expect(performance.now() - startedAt, 'negative control: 2,000 turns that rest take 200 ms').toBeLessThan(200)
})
