/**
 * What a dispatch that does nothing takes on the GPU, by timestamps: the floor under every kernel. The host's part, encoding
 * and submitting it, is several times that and in none of the numbers.
 */
import { strict as assert } from 'node:assert'
import { probe } from '../../cli/plan/probe-bench.ts'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import type { Gpu } from '../../gpu-worker/gpu/device.ts'
import { Pipelines } from '../../gpu-worker/gpu/pipelines.ts'
import { buildRecipe } from '../../gpu-worker/gpu/recipe.ts'
import { median, timeRuns, type Timed, type TimedParts } from './pass-times.ts'

/** Microseconds. */
export interface EmptyTimes {
  /** Of one pass of many, each dispatch behind one whose result it needs. */
  readonly inTurn: number
  /** Of such a pass, where none needs another. */
  readonly free: number
  /** More in a pass of its own. */
  readonly ownPass: number
}

/** Of a pass. */
const COUNT = 256
const ROUNDS = 8

export async function timeEmpty(gpu: Gpu): Promise<EmptyTimes> {
  const pipelines = new Pipelines(gpu)
  const run = async (parts: TimedParts, counterCount: number): Promise<Timed[]> => {
    const buffers = new Buffers(gpu, 'counters')
    const counters = Array.from({ length: counterCount }, (_, i) => buffers.storage(`counter ${i}`, 4))
    const turns = Array.from({ length: COUNT / counterCount }, () => counters).flat()
    const list = turns.map((counter) => ({
      dispatch: probe('count', ['write'], [counter], {}, 1),
      rows: 'all' as const,
    }))
    const recipe = await buildRecipe(gpu, pipelines, buffers, list)
    const times = await timeRuns(gpu, parts, ROUNDS, async () => {
      const encoder = gpu.device.createCommandEncoder({ label: 'step' })
      const pass = encoder.beginComputePass()
      recipe.encode(pass, { all: 1 })
      pass.end()
      gpu.device.queue.submit([encoder.finish()])
      await gpu.idle('dispatches that do nothing')
    })
    buffers.close()
    return times
  }
  const ofPass = ([pass]: readonly Timed[]): number => median(pass ?? assert.fail('They are a pass')) / COUNT
  const inTurn = ofPass(await run('pass', 1))
  const free = ofPass(await run('pass', COUNT))
  const apart = (await run('dispatches', 1)).flatMap(({ micros }) => micros)
  return { inTurn, free, ownPass: Math.max(0, median({ micros: apart }) - inTurn) }
}
