/**
 * `npm run bench -- ordering`: time to first token in the engine's order and in that of arrival, on a simulated clock.
 *
 * The engine and its fake Runner are driven directly; a step takes what a model of step time says, so the figures are the
 * policy's alone and the same on every machine. FCFS is the same engine with age caps of 0: everyone is due at once.
 * Load is arrivals over what the engine gets through when everything is there at the start.
 */
import assert from 'node:assert/strict'
import { defaultAgeCapsMs } from '../gpu-worker/engine/admission.ts'
import { type Batch, rowCount } from '../gpu-worker/engine/batch.ts'
import { Engine, type EngineOptions } from '../gpu-worker/engine/engine.ts'
import { FakeRunner } from '../test/fake-runner.ts'
import { type Dice, dice } from '../test/fixtures/dice.ts'
import { type Figure, machineName, percentile, type Report } from './report.ts'

interface Arrival {
  readonly atMs: number
  readonly promptTokenIds: readonly number[]
  readonly answerTokensMax: number
}

/** One life each; judged together, since of one life a hundredth are 15 requests. */
const seeds = [20, 21, 22, 23]
const requestCount = 1_500
const slots = 64
const prefillRowsMax = 256
const limits = {
  rowsMax: 512,
  sequencesMax: slots,
  blockTokens: 32,
  blockCount: 8_192,
  contextTokensMax: 2_048,
} as const
const shortShare = 0.8
const shortTokens = [4, 64] as const
const longTokens = [1_000, 1_900] as const
const answerTokens = [8, 96] as const
const loads = [0.9, 1.1] as const
/** Of a worker: jobs it claims beyond those that run (`gpu-worker/consumer.ts`). The rest stay in their lane, in order. */
const waitingMax = slots / 4

/** A step reads all weights once; then each row costs its share of the arithmetic. */
const stepModel = { fixedMs: 10, decodeRowMs: 0.15, prefillRowMs: 0.12 } as const
const fcfs: EngineOptions = { prefillRowsMax, ageCapsMs: { interactive: 0, think: 0, batch: 0 } }
const ours: EngineOptions = { prefillRowsMax, ageCapsMs: defaultAgeCapsMs }

export async function ordering(): Promise<Report> {
  const figures: Figure[] = []
  const capacityPerMs = await capacity()
  for (const pattern of ['poisson', 'bursty'] as const) {
    for (const load of loads) {
      const lives = seeds.map((seed) => drawArrivals(dice(seed), load * capacityPerMs, pattern))
      const arrivals = lives.flat()
      const base = await firstTokensMs(lives, fcfs)
      const own = await firstTokensMs(lives, ours)
      const windowed = await firstTokensMs(lives, ours, waitingMax)
      const isJudged = load > 1
      const name = `${pattern} ${load}`
      figures.push(
        ...lines(`${name}, FCFS`, base, arrivals),
        ...lines(`${name}, ours`, own, arrivals),
        {
          name: `${name}, mean, FCFS / ours`,
          value: mean(base) / mean(own),
          unit: '×',
          ...(isJudged ? { goal: '≥ 2', holds: mean(base) / mean(own) >= 2 } : {}),
        },
        {
          name: `${name}, p99, ours / FCFS`,
          value: percentile(own, 0.99) / percentile(base, 0.99),
          unit: '×',
          goal: '≤ 1.2',
          holds: percentile(own, 0.99) / percentile(base, 0.99) <= 1.2,
        },
        { name: `${name}, mean, FCFS / ours in a worker's window`, value: mean(base) / mean(windowed), unit: '×' },
      )
    }
  }
  return {
    bench: 'ordering',
    machine: machineName(),
    adapter: 'none: a simulated clock',
    date: new Date().toISOString().slice(0, 10),
    notes: [
      `${requestCount} requests of each seed ${seeds.join(', ')}; prompts: 80 % of ${shortTokens.join('–')} tokens, 20 % of ${longTokens.join('–')}; answers ${answerTokens.join('–')}`,
      `${slots} slots, chunks of ${prefillRowsMax} rows; step = ${stepModel.fixedMs} ms + ${stepModel.decodeRowMs} ms a decode + ${stepModel.prefillRowMs} ms a prefill row`,
      `capacity ${(capacityPerMs * 1000).toFixed(1)} requests/s; age cap ${defaultAgeCapsMs.interactive / 1000} s; window: ${waitingMax} waiting beside ${slots} running`,
    ],
    figures,
  }
}

function lines(name: string, samples: readonly number[], arrivals: readonly Arrival[]): Figure[] {
  const isShort = (_: number, at: number) => (arrivals[at]?.promptTokenIds.length ?? 0) <= shortTokens[1]
  return [
    { name: `${name}, mean`, value: mean(samples), unit: 'ms' },
    { name: `${name}, mean of short prompts`, value: mean(samples.filter(isShort)), unit: 'ms' },
    { name: `${name}, p50`, value: percentile(samples, 0.5), unit: 'ms' },
    { name: `${name}, p99`, value: percentile(samples, 0.99), unit: 'ms' },
  ]
}

/** Requests a millisecond when everything is there from the start, without the tail in which slots run dry. */
async function capacity(): Promise<number> {
  const arrivals = drawArrivals(dice(seeds[0] ?? 0), Infinity, 'poisson')
  const samples = await firstTokenMs(arrivals, fcfs)
  return samples.length / percentile(samples, 1)
}

function drawArrivals(draw: Dice, perMs: number, pattern: 'poisson' | 'bursty'): Arrival[] {
  let atMs = 0
  return Array.from({ length: requestCount }, () => {
    atMs += gap(draw, pattern) / perMs
    const count = draw.chance(shortShare) ? draw(...shortTokens) : draw(...longTokens)
    const promptTokenIds = Array.from({ length: count }, () => draw(1, 1_000))
    return { atMs, promptTokenIds, answerTokensMax: draw(...answerTokens) }
  })
}

/** A gap of mean 1: exponential, or four of five a tenth as long and the fifth 4.6 times (coefficient of variation 2.8). */
function gap(draw: Dice, pattern: 'poisson' | 'bursty'): number {
  const exponential = -Math.log(draw(1, 2 ** 30) / 2 ** 30)
  if (pattern === 'poisson') return exponential
  return exponential * (draw.chance(0.8) ? 0.1 : 4.6)
}

async function firstTokensMs(lives: readonly Arrival[][], options: EngineOptions, waitingCountMax?: number) {
  const samples: number[] = []
  for (const arrivals of lives) samples.push(...(await firstTokenMs(arrivals, options, waitingCountMax)))
  return samples
}

/** By arrival: from arrival to first token, ms of the simulated clock. At most `waitingMax` wait in the engine. */
async function firstTokenMs(
  arrivals: readonly Arrival[],
  options: EngineOptions,
  waitingCountMax = Infinity,
): Promise<number[]> {
  let nowMs = 0
  const wait = async (ms: number) => {
    nowMs += ms
  }
  const runner = new FakeRunner({ limits: { ...limits, stepsInFlightMax: 1 }, stepMs, wait })
  const engine = new Engine(runner, options)
  const samples: number[] = []
  for (let next = 0; next < arrivals.length || engine.hasWork;) {
    for (; engine.stats().waitingCount < waitingCountMax; next += 1) {
      const arrival = arrivals[next]
      if (arrival === undefined || arrival.atMs > nowMs) break
      const { atMs: arrivedMs, promptTokenIds, answerTokensMax } = arrival
      const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, next] } as const
      engine.submit({ id: `${next}`, promptTokenIds, answerTokensMax, arrivedMs, sampling, stopTokenIds: [] })
    }
    if (!engine.hasWork) nowMs = arrivals[next]?.atMs ?? nowMs
    for (const event of await engine.step(nowMs)) {
      if (event.kind === 'token' && event.index === 0)
        samples[Number(event.id)] = nowMs - (arrivals[Number(event.id)]?.atMs ?? 0)
    }
  }
  assert.equal(samples.filter((ms) => ms > 0).length, arrivals.length, 'A request has no first token')
  await runner.close()
  return samples
}

function stepMs(batch: Batch): number {
  const prefillRows = batch.sequences.at(-1)?.tokenIds.length ?? 0
  const decodeRows = rowCount(batch) - prefillRows
  return stepModel.fixedMs + decodeRows * stepModel.decodeRowMs + prefillRows * stepModel.prefillRowMs
}

function mean(samples: readonly number[]): number {
  return samples.reduce((sum, sample) => sum + sample, 0) / samples.length
}
