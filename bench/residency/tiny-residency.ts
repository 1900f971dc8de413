/**
 * axk1-tiny with slots for half of its experts: its recorded routes replayed, and its answers through the engine beside
 * those of the same model with all experts resident.
 */
import { strict as assert } from 'node:assert'
import { join } from 'node:path'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { decode } from '../peers/engine-streams.ts'
import type { Figure } from '../report.ts'
import { recordedRoutes } from './recorded-routes.ts'
import { hitRate, type Policy } from './replay.ts'

const MODEL = join(import.meta.dirname, '../../models/axk1-tiny')
const STREAMS = [1, 4, 8]
const STEPS = 48
const POLICIES: readonly [Policy, string][] = [
  ['ours', 'ours'],
  ['lru', 'least recently used leaves'],
  ['belady', 'Belady’s'],
]

export async function tinyResidency(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const streams of STREAMS) {
    const { expertCount, traces } = await recordedRoutes(streams)
    for (const [policy, words] of POLICIES) {
      const rates = traces.map((trace) =>
        hitRate(trace, { expertCount, slotCount: expertCount / 2, countedFrom: 1 }, policy),
      )
      const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length
      figures.push({ name: `axk1-tiny, recorded routes of ${streams}: held, ${words}`, value: mean, unit: '%' })
    }
  }
  const whole = await answers({})
  const half = await answers({ expertSlots: '50%' })
  for (const [i, streams] of STREAMS.entries()) {
    const [own, other] = [half.times[i], whole.times[i]]
    assert(own !== undefined && other !== undefined)
    const isSame = JSON.stringify(own.tokens) === JSON.stringify(other.tokens)
    figures.push(
      { name: `axk1-tiny, ${streams} through the engine: a step, all resident`, value: other.stepMs, unit: 'ms' },
      { name: `axk1-tiny, ${streams} through the engine: a step, half of the slots`, value: own.stepMs, unit: 'ms' },
      {
        name: `axk1-tiny, ${streams}: answers that differ`,
        value: Number(!isSame),
        unit: '',
        goal: '0',
        holds: isSame,
      },
    )
  }
  return figures
}

async function answers(slots: { readonly expertSlots?: '50%' }) {
  const { runner } = await loadRunner({ checkpoint: MODEL, sequencesMax: Math.max(...STREAMS), ...slots })
  try {
    const prompts = Array.from({ length: Math.max(...STREAMS) }, (_, stream) =>
      Array.from({ length: 24 }, (_token, at) => (at * 37 + stream * 101 + 5) % 1000),
    )
    const times = []
    for (const streams of STREAMS) {
      times.push(await decode(new Engine(runner), prompts.slice(0, streams), STEPS, `${streams} streams`))
    }
    return { times }
  } finally {
    await runner.close()
  }
}
