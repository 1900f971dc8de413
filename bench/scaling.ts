/**
 * `npm run bench -- scaling`: how the cost of a step grows with sequences and context, and that of a token with the queue.
 *
 * axk1-tiny through the engine for the steps and for a worker without work; the fake Runner, without cost of its own, for
 * the queue: what is left there is the worker's and Redis' work. Outputs are other benches' matter.
 */
import { join } from 'node:path'
import { openJobsMax } from '../contract/limits.ts'
import { loadRunner } from '../gpu-worker/model/load-runner.ts'
import { type Figure, machineName, type Report } from './report.ts'
import { type StepTimes, stepTimes } from './scaling/step-times.ts'
import { costPerToken, idleProcessors, type TokenCost } from './scaling/worker-cost.ts'

const modelDir = join(import.meta.dirname, '../models/axk1-tiny')
const sequenceCounts = [1, 8, 32, 64, 128] as const
const contexts = [64, 192, 1_024, 2_048] as const
const stepCount = 24
/** The everyday context, as in `bench peers`: where the goals are judged. */
const judgedContext = 192
const slots = 32
/** Jobs that run are open too. */
const openJobCounts = [10, 100, 1_000, openJobsMax] as const
const jobsBefore = 64
const jobsMeasured = 384
const idleMs = 5_000

const stepRatioMax = 8
const hostShareMax = 0.1
/** Of a straight line: attention's last tile is not full, and short steps have other costs. */
const bendMax = 1.25
const flatMax = 1.25
const idleMax = 0.01

export async function scaling(): Promise<Report> {
  const sequencesMax = Math.max(...sequenceCounts)
  const { runner, adapter } = await loadRunner({ checkpoint: modelDir, sequencesMax })
  try {
    const cells = await stepTimes(runner, contexts, sequenceCounts, stepCount)
    const idle = await idleProcessors(runner, modelDir, idleMs)
    const costs: TokenCost[] = []
    for (const count of openJobCounts)
      costs.push(await costPerToken({ modelDir, slots, jobsBefore, jobsMeasured }, count))
    return {
      bench: 'scaling',
      machine: machineName(),
      adapter: adapter.description,
      date: new Date().toISOString().slice(0, 10),
      notes: [
        `step: median of ${stepCount}, all sequences behind one cached prompt; host: planning, packing, encoding, reading`,
        `queue: ${slots} slots, ${jobsMeasured} jobs on the fake Runner behind ${jobsBefore}; processor time, asking included`,
      ],
      figures: [...stepFigures(cells), ...queueFigures(costs), idleFigure(idle)],
    }
  } finally {
    await runner.close()
  }
}

function stepFigures(cells: readonly StepTimes[]): Figure[] {
  const figures: Figure[] = cells.flatMap((cell) => {
    const name = `${cell.sequenceCount} × ${cell.contextTokens} tokens`
    const isJudged = cell.sequenceCount === 64 && cell.contextTokens === judgedContext
    const share = cell.hostMs / cell.stepMs
    const judged = isJudged ? { goal: `< ${100 * hostShareMax}`, holds: share < hostShareMax } : {}
    return [
      { name: `${name}: step`, value: cell.stepMs, unit: `ms, ${cell.dispatchCount} dispatches` },
      {
        name: `${name}: host`,
        value: 100 * share,
        unit: `% (its thread ${percent(cell.threadMs / cell.stepMs)})`,
        ...judged,
      },
    ]
  })
  const stepMs = (sequenceCount: number, contextTokens: number) =>
    cells.find((cell) => cell.sequenceCount === sequenceCount && cell.contextTokens === contextTokens)?.stepMs ?? NaN
  for (const context of contexts) {
    const ratio = stepMs(32, context) / stepMs(1, context)
    const judged = context === judgedContext ? { goal: `≤ ${stepRatioMax}`, holds: ratio <= stepRatioMax } : {}
    figures.push({ name: `step of 32 / step of 1 at ${context} tokens`, value: ratio, unit: '×', ...judged })
  }
  const [short, middle, long] = [judgedContext, 1_024, 2_048] as const
  const perToken = (from: number, to: number) => (stepMs(32, to) - stepMs(32, from)) / (to - from)
  const bend = perToken(middle, long) / perToken(short, middle)
  figures.push({
    name: `a token of context at ${middle}–${long} / at ${short}–${middle}, 32 sequences`,
    value: bend,
    unit: '×',
    goal: `≤ ${bendMax}: linear`,
    holds: bend <= bendMax,
  })
  return figures
}

function queueFigures(costs: readonly TokenCost[]): Figure[] {
  const [base] = costs
  return costs.flatMap((cost) => {
    const name = `${cost.openJobCount} open jobs`
    const ratio = base === undefined ? NaN : cost.workerMicros / base.workerMicros
    const redisRatio = base === undefined ? NaN : cost.redisMicros / base.redisMicros
    const goal = `≤ ${flatMax}`
    const figures: Figure[] = [
      { name: `${name}: a token costs the worker`, value: cost.workerMicros, unit: 'µs' },
      { name: `${name}: a token costs Redis`, value: cost.redisMicros, unit: 'µs' },
    ]
    if (cost !== costs.at(-1)) return figures
    return [
      ...figures,
      { name: `worker, ${name} / ${base?.openJobCount}`, value: ratio, unit: '×', goal, holds: ratio <= flatMax },
      {
        name: `Redis, ${name} / ${base?.openJobCount}`,
        value: redisRatio,
        unit: '×',
        goal,
        holds: redisRatio <= flatMax,
      },
    ]
  })
}

function idleFigure(processors: number): Figure {
  const judged = { goal: `≤ ${100 * idleMax}`, holds: processors <= idleMax }
  return { name: 'a worker without work', value: 100 * processors, unit: '% of a processor', ...judged }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`
}
