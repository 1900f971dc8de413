/** The soak's reduced form, and that it would notice. In full: `npm run prove -- soak`, two hours. */
import { describe, expect, it } from 'vitest'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { FakeRunner } from '../fake-runner.ts'
import { dice } from '../fixtures/dice.ts'
import { soak } from './soak.ts'
import { Crowd } from './soak/crowd.ts'
import { medianGrowth } from './soak/memory-watch.ts'
import { askAlone, type Question } from './soak/questions.ts'

describe('the soak', { timeout: 240_000 }, () => {
  it('I11, I13, I14: every token is as alone, blocks come back, memory stays, under preemption and leavers', async () => {
    const { requests, answered, cancelled, finished } = await soak({ full: false })
    expect(answered + cancelled + finished).toBe(requests)
  })

  it('negative control: one wrong token in an answer is noticed', async () => {
    await expect(hear((questions) => questions)).resolves.toBeUndefined()
    await expect(hear((questions) => questions.map(withOtherLastToken))).rejects.toThrow('I14: token')
  })

  it('a leak of a thousandth a sample is growth, noise around one size is not', () => {
    const sizes = Array.from({ length: 90 }, (_, at) => 1_000 + (at % 3))
    expect(medianGrowth(sizes)).toBe(0)
    expect(medianGrowth(sizes.map((size, at) => size + at))).toBeGreaterThan(25)
    expect(medianGrowth(sizes.map((size, at) => size + Math.min(at, 30)))).toBe(0)
  })
})

/** Twenty requests of a crowd that expects what `expected` makes of the answers. */
async function hear(expected: (turns: readonly Question[]) => readonly Question[]): Promise<void> {
  const draw = dice(7)
  const runner = new FakeRunner()
  const engine = new Engine(runner)
  const conversations = await askAlone(engine, runner.limits.vocabSize, 4, draw)
  const crowd = new Crowd(engine, conversations.map(expected), draw)
  for (let request = 0; request < 20; request += 1) crowd.ask(0)
  while (engine.hasWork) crowd.take(await engine.step())
}

function withOtherLastToken(question: Question): Question {
  return { ...question, answer: [...question.answer.slice(0, -1), 0] }
}
