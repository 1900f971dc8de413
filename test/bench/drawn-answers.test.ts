/** Streams of a bench answer in tokens of their own. */
import { expect, it } from 'vitest'
import { drawnAnswers } from '../../bench/device/drawn-answers.ts'
import { decode } from '../../bench/peers/engine-streams.ts'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { FakeRunner } from '../fake-runner.ts'

it('streams that would all answer alike answer each its own tokens, and the same ones in every run', async () => {
  const prompts = Array.from({ length: 8 }, (_, stream) => [1, 2, 3, 4 + stream])
  const alike = await decode(new Engine(new FakeRunner()), prompts, 4, 'bench')
  expect(new Set(alike.tokens.map((own) => own.slice(0, 4).join())).size).toBe(1)
  const [first, second] = [new FakeRunner(), new FakeRunner()].map((runner) => new Engine(drawnAnswers(runner)))
  if (first === undefined || second === undefined) throw new Error('Two engines')
  const drawn = await decode(first, prompts, 4, 'bench')
  const later = drawn.tokens.map((own) => own[3])
  expect(new Set(later).size).toBeGreaterThan(4)
  expect(await decode(second, prompts, 4, 'bench')).toMatchObject({ tokens: drawn.tokens })
})
