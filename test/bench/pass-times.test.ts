/** Timestamps around every dispatch: of those that ran, in order, and nothing is computed otherwise. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { PassTimes, ROUNDED_TIMESTAMPS } from '../../bench/device/pass-times.ts'
import { probe } from '../../cli/plan/probe-bench.ts'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Pipelines } from '../../gpu-worker/gpu/pipelines.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { buildRecipe } from '../../gpu-worker/gpu/recipe.ts'

let gpu: Gpu
beforeAll(async () => {
  gpu = await openDevice({ withoutToggles: [ROUNDED_TIMESTAMPS] })
})
afterAll(() => {
  gpu.close()
})

it('tells each dispatch of a step with its time, finer than Dawn would round it, and counts as before', async () => {
  const buffers = new Buffers(gpu, 'test')
  const counter = buffers.storage('counter', 4)
  const readback = new Readback(gpu, buffers, 4)
  const dispatch = probe('count', ['write'], [counter], {}, 1)
  const list = Array.from({ length: 3 }, () => ({ dispatch, rows: 'all' as const }))
  const recipe = await buildRecipe(gpu, new Pipelines(gpu), buffers, list)
  const step = async (): Promise<number> => {
    const encoder = gpu.device.createCommandEncoder({ label: 'step' })
    const pass = encoder.beginComputePass()
    recipe.encode(pass, { all: 1 })
    pass.end()
    readback.copy(encoder, counter, 4)
    gpu.device.queue.submit([encoder.finish()])
    return new Uint32Array((await readback.read(4, 'a count')).buffer)[0] ?? NaN
  }
  const times = new PassTimes(gpu, 'dispatches')
  expect(await step()).toBe(3)
  const told = await times.read()
  times.close()
  expect(told.map(({ name, grid }) => [name, grid])).toEqual(list.map(() => ['count', '1×1×1']))
  for (const { micros } of told) expect(micros % 65.536).toBeGreaterThan(0)
  const whole = new PassTimes(gpu, 'pass')
  expect(await step()).toBe(6)
  expect(await whole.read()).toHaveLength(1)
  whole.close()
  expect(await step()).toBe(9)
  buffers.close()
})
