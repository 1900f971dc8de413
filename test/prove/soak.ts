/**
 * `npm run prove -- soak`: axk1-tiny under random arrivals for two hours and 108,000 requests. Every token is the one its
 * question gets alone, the engine's invariants hold all along, and memory stays as it was.
 *
 * The engine runs over the real Runner in a pool too small for all, so that sequences are preempted and cached blocks
 * evicted. `--minutes` and `--per-minute` make it shorter or gentler; it ends when both time and requests are through.
 * What waits in the engine is bounded as a worker's window is: arrivals wait outside when it is full.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { dice } from '../fixtures/dice.ts'
import { Crowd, type CrowdCounts } from './soak/crowd.ts'
import { MemoryWatch } from './soak/memory-watch.ts'
import { askAlone } from './soak/questions.ts'

export interface SoakOptions {
  readonly full: boolean
  readonly seed?: number
  /** Of asking, the time in which the answers alone are made not counted. */
  readonly minutes?: number
  readonly perMinute?: number
}

export interface SoakCounts extends CrowdCounts {
  steps: number
  preemptions: number
}

const modelDir = join(import.meta.dirname, '../../models/axk1-tiny')
const fullLength = { minutes: 120, perMinute: 900, conversationCount: 96 } as const
const reducedLength = { minutes: 0.1, perMinute: 1_500, conversationCount: 10 } as const
/** A long sequence nearly fills the pool, a dozen of everyday length do; 'alone' is asked in the same pool. */
const runnerSize = { sequencesMax: 16, rowsMax: 128, blockCount: 32 } as const
const waitingMax = runnerSize.sequencesMax
const stepsPerCheck = 16
const sampleCount = 240
const reportCount = 24
const mebibyte = 2 ** 20
/** Of the middle third against the last; a heap is read behind a collection, resident memory breathes. */
const growthMax = { rssBytes: 24 * mebibyte, heapBytes: 2 * mebibyte, gpuBytes: 0 } as const

/** Rejects with what differed, broke or grew. */
export async function soak(options: SoakOptions): Promise<SoakCounts> {
  const { full, seed = 1, ...given } = options
  const { minutes, perMinute, conversationCount } = { ...(full ? fullLength : reducedLength), ...given }
  const draw = dice(seed)
  const { runner, adapter } = await loadRunner({ checkpoint: modelDir, ...runnerSize })
  const watch = new MemoryWatch(() => runner.allocatedBytes)
  try {
    const { vocabSize } = runner.limits
    const conversations = await askAlone(new Engine(runner), vocabSize, conversationCount, draw)
    console.log(
      `${adapter.description}: ${minutes} minutes, ${perMinute} requests a minute, seed ${seed}; ` +
        `${conversations.flat().length} questions asked alone`,
    )
    const engine = new Engine(runner)
    const crowd = new Crowd(engine, conversations, draw)
    const counts = await live(engine, crowd, watch, { minutes, perMinute, nextGap: () => burstyGap(draw) })
    judge(counts, watch)
    return counts
  } finally {
    await runner.close()
  }
}

interface LifeOptions {
  readonly minutes: number
  readonly perMinute: number
  /** To the next arrival, of mean 1. */
  readonly nextGap: () => number
}

/** Runs until time and requests are through and everyone has an answer. */
async function live(
  engine: Engine,
  crowd: Crowd,
  watch: MemoryWatch,
  { minutes, perMinute, nextGap }: LifeOptions,
): Promise<SoakCounts> {
  const startedMs = performance.now()
  const [endMs, gapMs] = [minutes * 60_000, 60_000 / perMinute]
  const counts = (): SoakCounts => ({ ...crowd.counts, steps, preemptions: engine.stats().preemptionCount })
  let [steps, nextAtMs] = [0, 0]
  const isOpen = () => performance.now() - startedMs < endMs || crowd.counts.requests < minutes * perMinute
  while (isOpen() || engine.hasWork) {
    const nowMs = performance.now() - startedMs
    for (; isOpen() && nextAtMs <= nowMs && engine.stats().waitingCount < waitingMax; nextAtMs += nextGap() * gapMs)
      crowd.ask(nowMs)
    if (engine.hasWork) {
      crowd.take(await engine.step(nowMs))
      steps += 1
    } else {
      await delay(Math.max(0, nextAtMs - nowMs))
    }
    if (steps % stepsPerCheck === 0 || !engine.hasWork) engine.checkIntegrity()
    if (nowMs >= (watch.samples.length * endMs) / sampleCount) report(nowMs, counts(), watch)
  }
  return counts()
}

function report(nowMs: number, counts: SoakCounts, watch: MemoryWatch): void {
  const { rssBytes, heapBytes, gpuBytes } = watch.sample()
  if (watch.samples.length % (sampleCount / reportCount) !== 0) return
  const { requests, tokens, preemptions, hits, cancelled } = counts
  console.log(
    `${(nowMs / 60_000).toFixed(1)} min: ${requests} requests, ${tokens} tokens, ${preemptions} preemptions, ${hits} hits, ` +
      `${cancelled} cancelled; resident ${inMebibytes(rssBytes)}, heap ${inMebibytes(heapBytes)}, GPU buffers ${inMebibytes(gpuBytes)}`,
  )
}

function judge(counts: SoakCounts, watch: MemoryWatch): void {
  const grown = watch.growth()
  console.log(
    `From the middle third to the last: resident ${inMebibytes(grown.rssBytes)}, heap ${inMebibytes(grown.heapBytes)}.`,
    'Nothing differed from alone, every block came back:',
    counts,
  )
  for (const [what, count] of Object.entries(counts)) assert(count > 0, `The soak saw no ${what}`)
  for (const what of ['rssBytes', 'heapBytes', 'gpuBytes'] as const)
    assert(grown[what] <= growthMax[what], `I11: ${what} grew by ${inMebibytes(grown[what])}`)
}

function inMebibytes(bytes: number): string {
  return `${(bytes / mebibyte).toFixed(1)} MiB`
}

/** Four of five a tenth as long as the mean of a Poisson stream, the fifth 4.6 times: bursts fill the pool. */
function burstyGap(draw: (least: number, most: number) => number): number {
  return -Math.log(draw(1, 2 ** 30) / 2 ** 30) * (draw(1, 5) > 1 ? 0.1 : 4.6)
}
