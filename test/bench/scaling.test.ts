/** The measurements of `bench scaling` at a size that takes seconds: they measure what they say. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { stepTimes } from '../../bench/scaling/step-times.ts'
import { costPerToken, idleProcessors } from '../../bench/scaling/worker-cost.ts'
import { loadRunner, type LoadedRunner } from '../../gpu-worker/model/load-runner.ts'
import { FakeRunner } from '../fake-runner.ts'

const modelDir = 'models/axk1-tiny'
let loaded: LoadedRunner
beforeAll(async () => {
  loaded = await loadRunner({ checkpoint: modelDir, sequencesMax: 4 })
})
afterAll(() => loaded.runner.close())

it('a step is timed with all its sequences decoding, and the host works in a part of it', async () => {
  const rows: number[] = []
  const { runner } = loaded
  const run = runner.run.bind(runner)
  runner.run = (batch) => {
    rows.push(batch.sequences.length)
    return run(batch)
  }
  const cells = await stepTimes(runner, [48, 80], [1, 4], 3)
  expect(cells.map(({ contextTokens, sequenceCount }) => [contextTokens, sequenceCount])).toEqual([
    [48, 1],
    [48, 4],
    [80, 1],
    [80, 4],
  ])
  for (const { stepMs, hostMs, dispatchCount } of cells) {
    expect(hostMs).toBeGreaterThan(0)
    expect(hostMs).toBeLessThan(stepMs)
    expect(dispatchCount).toBeGreaterThan(10)
  }
  expect(rows.filter((count) => count === 4).length).toBeGreaterThanOrEqual(2 * 3)
})

it('a token costs a worker and its Redis something, and as many jobs stay open as are said', async () => {
  const cost = await costPerToken({ modelDir, slots: 4, jobsBefore: 4, jobsMeasured: 8 }, 6)
  expect(cost.openJobCount).toBe(6)
  expect(cost.workerMicros).toBeGreaterThan(0)
  expect(cost.redisMicros).toBeGreaterThan(0)
})

it('a worker without work leaves the processors to others', async () => {
  expect(await idleProcessors(new FakeRunner(), modelDir, 500)).toBeLessThan(0.25)
})
