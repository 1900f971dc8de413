/** The parts of `bench peers` that need no Python packages: what it says without them, and what it times of ours. */
import { describe, expect, it } from 'vitest'
import { decode, prefill } from '../../bench/peers/engine-streams.ts'
import { TransformersPeer } from '../../bench/peers/transformers-peer.ts'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { FakeRunner } from '../fake-runner.ts'

describe('TransformersPeer', () => {
  it.each(['no-such-python', 'true'])('says of %s what would help', async (python) => {
    const started = TransformersPeer.start(python, 'models/axk1-tiny', 2)
    await expect(started).rejects.toThrow(/-m pip install -r bench\/peers\/requirements\.txt.*AXLE_PYTHON/s)
  })
})

describe('the streams of the engine', () => {
  const prompts = [3, 4, 5, 6].map((token) => Array.from({ length: 40 }, () => token))

  it('are timed over steps in which all of them decode, and end when the time is taken', async () => {
    const batches: number[] = []
    const engine = new Engine(
      new FakeRunner({
        limits: { stepsInFlightMax: 1 },
        onStep: ({ batch }) => void batches.push(batch.sequences.length),
      }),
    )
    const { stepMs, tokens } = await decode(engine, prompts, 6, 'tenant')
    expect(stepMs).toBeGreaterThan(0)
    expect(batches.slice(-6)).toEqual([4, 4, 4, 4, 4, 4])
    expect(Math.min(...tokens.map((answer) => answer.length))).toBe(7)
    expect(engine.hasWork).toBe(false)
  })

  it('read every prompt anew, whoever read it before', async () => {
    const rows: number[] = []
    const onStep = ({ batch }: { batch: { sequences: readonly { tokenIds: readonly number[] }[] } }) =>
      void rows.push(...batch.sequences.map(({ tokenIds }) => tokenIds.length))
    const engine = new Engine(new FakeRunner({ onStep }))
    for (let round = 0; round < 2; round += 1) {
      const { ms, tokens } = await prefill(engine, prompts)
      expect(ms).toBeGreaterThan(0)
      expect(tokens).toHaveLength(prompts.length)
    }
    expect(rows.reduce((sum, count) => sum + count, 0)).toBe(2 * 4 * 40)
  })
})
