/**
 * `npm run bench -- exactness`: hundreds of requests alone, then each in twenty mixes: not a token, not a bit may differ.
 *
 * Through the serving Engine and Runner, on axk1-tiny. The same proof over kernels that sum in whatever order is
 * fastest must find differences, or it proves nothing; and what the order costs is measured against those kernels.
 * `--short` takes fewer requests; `--control` runs that over these kernels, and must fail.
 */
import { loadRunner } from '../gpu-worker/model/load-runner.ts'
import { freeOrder } from './exactness/free-order.ts'
import { mixes } from './exactness/mixes.ts'
import { orderCost, type OrderCost } from './exactness/order-cost.ts'
import { modelDir, type Proof, prove } from './exactness/proof.ts'
import { type Figure, machineName, type Report } from './report.ts'

const trialCount = 504
/** With `--short`. */
const shortTrialCount = 63
const secondsMax = 12 * 60
const seed = 4
const controlTrials = 24
const costPercentMax = 10

interface ExactnessOptions {
  readonly isControl: boolean
  readonly isShort: boolean
}

export async function exactness({ isControl, isShort: isShortAsked }: ExactnessOptions): Promise<Report> {
  const isShort = isShortAsked || isControl
  const startedMs = performance.now()
  const { runner, adapter } = await loadRunner({ checkpoint: modelDir, sequencesMax: 1 })
  await runner.close()
  const free = { alterDispatch: freeOrder, processor: 'cpu' } as const
  const proof = await prove({
    trialCount: isShort ? shortTrialCount : trialCount,
    mixes,
    seed,
    onProgress,
    ...(isControl ? { everywhere: free } : {}),
  })
  onProgress('the same with a free order, which must differ …')
  const control = await prove({ trialCount: controlTrials, mixes: mixes.slice(0, 1), seed, everywhere: free })
  onProgress('what the order costs …')
  const costs = await orderCost()
  const seconds = (performance.now() - startedMs) / 1000
  return {
    bench: 'exactness',
    machine: machineName(),
    adapter: adapter.description,
    date: new Date().toISOString().slice(0, 10),
    notes: [
      ...(isControl ? ['Control: kernels that sum in a free order. This must fail.'] : []),
      ...(proof.judge.first === null ? [] : [`First difference: ${proof.judge.first}`]),
      `Kernels crossed: ${[...proof.judge.kernels].sort().join(', ')}`,
    ],
    figures: [
      isShort
        ? { name: 'different requests', value: proof.trialCount, unit: 'requests' }
        : atLeast('different requests', proof.trialCount, 'requests', 500),
      ...proofFigures(proof),
      ...happenedFigures(proof),
      atLeast('rows that differ when the order is free', control.judge.differingRowCount, 'rows', 1),
      ...costs.map(costFigure),
      { name: 'time', value: seconds, unit: 's', goal: `≤ ${secondsMax}`, holds: seconds <= secondsMax },
    ],
  }
}

function onProgress(line: string): void {
  console.log(line)
}

function proofFigures({ trialCount: count, longCount, judge, counts }: Proof): Figure[] {
  return [
    atLeast('of these beyond 512 positions', longCount, 'requests', count / 3),
    atLeast('answers in company', counts.answerCount, 'answers', 20 * count),
    { name: 'tokens compared', value: judge.tokenCount, unit: 'tokens' },
    { name: 'prompt tokens told with log probabilities', value: judge.toldCount, unit: 'tokens' },
    none('tokens or log probabilities that differ', judge.differingTokenCount, 'tokens'),
    { name: 'rows of logits compared', value: judge.rowCount, unit: 'rows' },
    none('rows with a bit that differs', judge.differingRowCount, 'rows'),
  ]
}

/** What must not matter must have happened. */
function happenedFigures({ counts, judge }: Proof): Figure[] {
  const happened: readonly (readonly [name: string, value: number, unit: string])[] = [
    ['preemptions', counts.preemptionCount, ''],
    ['sequences that found tokens of a prompt in the cache', counts.promptHitCount, ''],
    ['sequences that found generated tokens there', counts.generatedHitCount, ''],
    ['tokens found there', counts.cachedTokenCount, 'tokens'],
    ['chunks cut inside a block', counts.cutCount, ''],
    ['rows by other kernels than alone', judge.otherKernelsCount, 'rows'],
    ['cancelled beside them', counts.cancelCount, ''],
    ['interrupted and resumed', counts.resumedCount, ''],
    ['freed blocks filled with NaN', counts.poisonedBlockCount, 'blocks'],
  ]
  return happened.map(([name, value, unit]) => atLeast(name, value, unit, 1))
}

function costFigure({ name, percent }: OrderCost): Figure {
  const holds = percent < costPercentMax
  return { name: `cost of the order, ${name}`, value: percent, unit: '%', goal: `< ${costPercentMax}`, holds }
}

function atLeast(name: string, value: number, unit: string, least: number): Figure {
  return { name, value, unit, goal: `≥ ${least}`, holds: value >= least }
}

function none(name: string, value: number, unit: string): Figure {
  return { name, value, unit, goal: '0', holds: value === 0 }
}
