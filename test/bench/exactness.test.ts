/** `bench exactness` in small: every shape of Runner and every disturbance, and the control that must fail. */
import { expect, it } from 'vitest'
import { freeOrder } from '../../bench/exactness/free-order.ts'
import { type NamedMix, prove, type RunnerShape } from '../../bench/exactness/proof.ts'
import { drawTrials, promptOf } from '../../bench/exactness/trials.ts'
import { wgsl } from '../../gpu-worker/kernels/wgsl.ts'

const tight: RunnerShape = { sequencesMax: 8, rowsMax: 128, blockCount: 26 }
const mixes: readonly NamedMix[] = [
  { name: 'few blocks', shape: { ...tight, stepsInFlight: 1 }, prefillRowsMax: 61, companyMax: 8 },
  { name: 'overlap', shape: { ...tight, stepsInFlight: 2 }, prefillRowsMax: 128, companyMax: 8 },
]
const seed = 9
const timeoutMs = 240_000

it(
  'gives each of a dozen requests the bits it has alone, through everything that must not matter',
  { timeout: timeoutMs },
  async () => {
    const { judge, counts, longCount, trialCount } = await prove({ trialCount: 12, mixes, seed })
    expect(judge.first).toBeNull()
    expect({ tokens: judge.tokenCount, rows: judge.rowCount }).toEqual({
      tokens: 2 * 12 * 32,
      rows: expect.any(Number),
    })
    expect(judge.rowCount).toBeGreaterThanOrEqual(judge.tokenCount)
    expect(longCount).toBeGreaterThanOrEqual(trialCount / 3)
    const happened = Object.entries({ ...counts, otherKernels: judge.otherKernelsCount, told: judge.toldCount })
    expect(happened.filter(([, count]) => count === 0)).toEqual([])
  },
)

it('finds differing bits when sums have no fixed order', { timeout: timeoutMs }, async () => {
  const { judge } = await prove({
    trialCount: 4,
    mixes: mixes.slice(0, 1),
    seed,
    everywhere: { alterDispatch: freeOrder },
  })
  expect(judge.differingRowCount).toBeGreaterThan(0)
})

it('draws requests that are all different, a third of them long, turns behind earlier ones', () => {
  const trials = drawTrials(504, 1024, 4)
  const answers: { promptTokenIds: number[]; tokenIds: number[] }[] = []
  for (const trial of trials) {
    const promptTokenIds = promptOf(trial, trial.parent === null ? null : (answers[trial.parent] ?? null))
    answers.push({ promptTokenIds, tokenIds: Array.from({ length: trial.answerTokens }, () => trial.number) })
  }
  const prompts = answers.map(({ promptTokenIds }) => promptTokenIds)
  const lengths = prompts.map(({ length }) => length)
  expect(new Set(prompts.map((prompt) => prompt.join())).size).toBe(504)
  expect(lengths.filter((length) => length + 32 > 512).length).toBeGreaterThanOrEqual(504 / 3)
  expect(Math.max(...lengths)).toBeLessThan(700)
  expect(trials.every(({ number, parent }) => parent === null || parent < number)).toBe(true)
})

it.each(['dot', 'lanes', 'exp'] as const)(
  'the free order exchanges what include/%s.wgsl has, and nothing else',
  (include) => {
    const source = `// before\n${wgsl('embed', include)}`
    const { program } = freeOrder({
      program: { name: 'any', source, access: [], constants: {} },
      bindings: [],
      grid: () => null,
    })
    expect(program.source).not.toBe(source)
    expect(program.source.match(/\bfn \w+/g)).toEqual(source.match(/\bfn \w+/g))
  },
)
