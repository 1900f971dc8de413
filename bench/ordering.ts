/**
 * `npm run bench -- ordering`: time to first token in the engine's order and in that of arrival.
 *
 * Judged on a simulated clock: the engine and its fake Runner are driven directly, a step takes what a model of step time
 * says, so the figures are the policy's alone and the same on every machine. Reported: the same policy behind a real
 * queue, in a worker's window, on the real clock.
 * FCFS is the same engine with age caps of 0: everyone is due at once. Load is arrivals over what the engine gets through
 * when everything is there at the start.
 */
import { join } from 'node:path'
import { defaultAgeCapsMs } from '../gpu-worker/engine/admission.ts'
import type { EngineOptions } from '../gpu-worker/engine/engine.ts'
import { loadModelText } from '../gpu-worker/model/model-text.ts'
import { dice } from '../test/fixtures/dice.ts'
import { answerTokens, type Arrival, drawArrivals, longTokens, shortTokens } from './ordering/arrivals.ts'
import { firstTokenMsEndToEnd, templateTokens } from './ordering/end-to-end.ts'
import { firstTokenMs } from './ordering/simulated.ts'
import { prefillRowsMax, slots, stepModel } from './ordering/step-model.ts'
import { type Figure, machineName, percentile, type Report } from './report.ts'

/** One life each; judged together, since of one life a hundredth are 15 requests. */
const seeds = [20, 21, 22, 23]
const requestCount = 1_500
/** Behind a real queue time is real. */
const requestCountEndToEnd = 300
const patterns = ['poisson', 'bursty'] as const
const loads = [0.9, 1.1] as const
const overload = loads[1]
/** Of a worker: jobs it claims beyond those that run (`gpu-worker/consumer.ts`). The rest stay in their lane, in order. */
const waitingMax = slots / 4
const modelDir = join(import.meta.dirname, '../models/axk1-tiny')

const fcfsAgeCapsMs = { interactive: 0, think: 0, batch: 0 } as const
const fcfs: EngineOptions = { prefillRowsMax, ageCapsMs: fcfsAgeCapsMs }
const ours: EngineOptions = { prefillRowsMax, ageCapsMs: defaultAgeCapsMs }

export async function ordering(): Promise<Report> {
  const capacityPerMs = await capacity()
  const figures: Figure[] = []
  for (const pattern of patterns) {
    for (const load of loads) {
      const lives = seeds.map((seed) => drawArrivals(dice(seed), requestCount, load * capacityPerMs, pattern))
      figures.push(...(await simulatedFigures(`${pattern} ${load}`, lives, load === overload)))
    }
  }
  figures.push(...(await endToEndFigures(capacityPerMs)))
  return {
    bench: 'ordering',
    machine: machineName(),
    adapter: 'none: a simulated clock, then the fake Runner behind a real queue',
    date: new Date().toISOString().slice(0, 10),
    notes: [
      `${requestCount} requests of each seed ${seeds.join(', ')}; prompts: 80 % of ${shortTokens.join('–')} tokens, 20 % of ${longTokens.join('–')}; answers ${answerTokens.join('–')}`,
      `${slots} slots, chunks of ${prefillRowsMax} rows; step = ${stepModel.fixedMs} ms + ${stepModel.decodeRowMs} ms a decode + ${stepModel.prefillRowMs} ms a prefill row`,
      `capacity ${(capacityPerMs * 1000).toFixed(1)} requests/s; age cap ${defaultAgeCapsMs.interactive / 1000} s; window: ${waitingMax} waiting beside ${slots} running`,
      `end to end: ${requestCountEndToEnd} jobs at load ${overload}, admitted by script, BullMQ, a worker's window, the real clock`,
    ],
    figures,
  }
}

async function simulatedFigures(name: string, lives: readonly Arrival[][], isJudged: boolean): Promise<Figure[]> {
  const arrivals = lives.flat()
  const base = await firstTokensMs(lives, fcfs)
  const own = await firstTokensMs(lives, ours)
  const windowed = await firstTokensMs(lives, ours, waitingMax)
  const [gain, tail] = [mean(base) / mean(own), percentile(own, 0.99) / percentile(base, 0.99)]
  const judged = isJudged ? { goal: '≥ 2', holds: gain >= 2 } : {}
  return [
    ...lines(`${name}, FCFS`, base, arrivals),
    ...lines(`${name}, ours`, own, arrivals),
    { name: `${name}, mean, FCFS / ours`, value: gain, unit: '×', ...judged },
    { name: `${name}, p99, ours / FCFS`, value: tail, unit: '×', goal: '≤ 1.2', holds: tail <= 1.2 },
    { name: `${name}, mean, FCFS / ours in a worker's window`, value: mean(base) / mean(windowed), unit: '×' },
  ]
}

async function endToEndFigures(capacityPerMs: number): Promise<Figure[]> {
  const text = await loadModelText(modelDir, 'axk1-tiny')
  const figures: Figure[] = []
  for (const pattern of patterns) {
    const draw = dice(seeds[0] ?? 0)
    const perMs = overload * capacityPerMs
    const arrivals = drawArrivals(draw, requestCountEndToEnd, perMs, pattern, templateTokens(text))
    const base = await firstTokenMsEndToEnd(text, arrivals, fcfsAgeCapsMs)
    const own = await firstTokenMsEndToEnd(text, arrivals)
    const name = `end to end, ${pattern} ${overload}`
    figures.push(
      ...lines(`${name}, FCFS`, base, arrivals),
      ...lines(`${name}, ours`, own, arrivals),
      { name: `${name}, mean, FCFS / ours`, value: mean(base) / mean(own), unit: '×' },
      { name: `${name}, p99, ours / FCFS`, value: percentile(own, 0.99) / percentile(base, 0.99), unit: '×' },
    )
  }
  return figures
}

function lines(name: string, samples: readonly number[], arrivals: readonly Arrival[]): Figure[] {
  const isShort = (_: number, at: number) => (arrivals[at]?.promptTokens ?? 0) <= shortTokens[1]
  return [
    { name: `${name}, mean`, value: mean(samples), unit: 'ms' },
    { name: `${name}, mean of short prompts`, value: mean(samples.filter(isShort)), unit: 'ms' },
    { name: `${name}, p50`, value: percentile(samples, 0.5), unit: 'ms' },
    { name: `${name}, p99`, value: percentile(samples, 0.99), unit: 'ms' },
  ]
}

/** Requests a millisecond when everything is there from the start, without the tail in which slots run dry. */
async function capacity(): Promise<number> {
  const samples = await firstTokenMs(drawArrivals(dice(seeds[0] ?? 0), requestCount, Infinity, 'poisson'), fcfs)
  return samples.length / percentile(samples, 1)
}

async function firstTokensMs(lives: readonly Arrival[][], options: EngineOptions, waitingCountMax?: number) {
  const samples: number[] = []
  for (const arrivals of lives) samples.push(...(await firstTokenMs(arrivals, options, waitingCountMax)))
  return samples
}

function mean(samples: readonly number[]): number {
  return samples.reduce((sum, sample) => sum + sample, 0) / samples.length
}
