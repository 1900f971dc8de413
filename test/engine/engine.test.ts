/** What a caller of the engine may rely on, over the fake Runner. */
import { describe, expect, it } from 'vitest'
import { Engine, StepFailed } from '../../gpu-worker/engine/engine.ts'
import type { SequenceRequest } from '../../gpu-worker/engine/sequence.ts'
import type { Seed } from '../fake-runner.ts'
import { drain, endsOf, prompt, request, seed, setup, stopTokenId, tokensOf } from './engine-setup.ts'

describe('Engine', () => {
  it('tells each token with its index, then one end, and is idle with every block free', async () => {
    const { engine, runner } = setup()
    expect(engine.hasWork).toBe(false)
    engine.submit(request('a'))
    expect(engine.hasWork).toBe(true)
    expect(await drain(engine)).toEqual([
      ...[0, 1, 2, 3].map((index) => ({ kind: 'token', id: 'a', index, tokenId: runner.tokenAt(seed, index) })),
      { kind: 'end', id: 'a', reason: 'length' },
    ])
    const idle = { runningCount: 0, waitingCount: 0, freeBlockCount: 16, cachedBlockCount: 0, preemptionCount: 0 }
    expect(engine.stats()).toEqual({ ...idle, blockCount: 16 })
  })

  it('tells the stop token as a token and ends with it', async () => {
    const { engine } = setup({ stopIndex: () => 2 })
    engine.submit(request('a'))
    const events = await drain(engine)
    expect(tokensOf(events, 'a')).toHaveLength(3)
    expect(tokensOf(events, 'a').at(-1)).toBe(stopTokenId)
    expect(endsOf(events, 'a')).toEqual(['stop'])
  })

  const bounds: readonly (readonly [number, number, number, number])[] = [
    [10, 4, 16, 4],
    [28, 4, 16, 4],
    [29, 4, 16, 3],
    [31, 4, 16, 1],
    [7, 2, 2, 1],
    [6, 2, 2, 2],
    [5, 2, 2, 2],
  ]
  it.each(bounds)('a prompt of %i with %i tokens asked, %i blocks of 4, context 32, gets %i', async (...row) => {
    const [promptCount, answerTokensMax, blockCount, expected] = row
    const { engine } = setup({ limits: { blockCount } })
    engine.submit(request('a', { promptTokenIds: prompt(promptCount), answerTokensMax }))
    const events = await drain(engine)
    expect(tokensOf(events, 'a')).toHaveLength(expected)
    expect(endsOf(events, 'a')).toEqual(['length'])
  })

  const refusals: readonly (readonly [number, number, object])[] = [
    [31, 16, { kind: 'accepted' }],
    [32, 16, { kind: 'refused', reason: 'longer-than-context', needTokens: 33, tokensMax: 32 }],
    [7, 2, { kind: 'accepted' }],
    [8, 2, { kind: 'refused', reason: 'longer-than-pool', needTokens: 9, tokensMax: 8 }],
    [32, 2, { kind: 'refused', reason: 'longer-than-context', needTokens: 33, tokensMax: 8 }],
  ]
  it.each(refusals)(
    'answers a prompt of %i with %i blocks of 4 and context 32 by %o',
    (promptCount, blockCount, answer) => {
      const { engine } = setup({ limits: { blockCount } })
      expect(engine.submit(request('a', { promptTokenIds: prompt(promptCount) }))).toEqual(answer)
      expect(engine.hasWork).toBe('kind' in answer && answer.kind === 'accepted')
    },
  )

  const mistakes: readonly (readonly [Partial<SequenceRequest>, string])[] = [
    [{ id: 'here' }, 'it is here already'],
    [{ promptTokenIds: [] }, 'its prompt is empty'],
    [{ promptTokenIds: [64] }, 'a token is outside 0 … 63'],
    [{ promptTokenIds: [-1] }, 'a token is outside'],
    [{ promptTokenIds: [1.5] }, 'a token is outside'],
    [{ resumedTokenIds: [64] }, 'a token is outside'],
    [{ answerTokensMax: 0 }, 'answerTokensMax is 0'],
  ]
  it.each(mistakes)('submit() throws on %o and takes nothing in', async (changes, message) => {
    const { engine } = setup()
    engine.submit(request('here'))
    expect(() => engine.submit(request('a', changes))).toThrow(message)
    expect(engine.stats().waitingCount).toBe(1)
    expect(endsOf(await drain(engine), 'here')).toEqual(['length'])
  })

  it('never reacts: calls change nothing before the next step', async () => {
    const { engine, steps } = setup()
    engine.submit(request('a'))
    engine.cancel('a')
    expect(steps).toEqual([])
    expect(engine.stats()).toMatchObject({ runningCount: 0, waitingCount: 1 })
    expect(await engine.step()).toEqual([{ kind: 'end', id: 'a', reason: 'cancelled' }])
    expect(steps).toEqual([])
  })
})

describe('Engine.cancel() and finish()', () => {
  it('cancel() drops a sequence in mid-prefill within one step, and its blocks are free', async () => {
    const { engine, steps } = setup({}, { prefillRowsMax: 4 })
    engine.submit(request('a', { promptTokenIds: prompt(20) }))
    expect(await engine.step()).toEqual([{ kind: 'start', id: 'a', cachedTokenCount: 0 }])
    engine.cancel('a')
    expect(await engine.step()).toEqual([{ kind: 'end', id: 'a', reason: 'cancelled' }])
    expect(steps).toHaveLength(1)
    expect(engine.stats().freeBlockCount).toBe(16)
  })

  it('a cancel that comes while a step runs lets that step count and takes effect in the next', async () => {
    const gate = Promise.withResolvers<void>()
    const { engine } = setup({ wait: () => gate.promise })
    engine.submit(request('a'))
    const running = engine.step()
    engine.cancel('a')
    gate.resolve()
    expect(tokensOf(await running, 'a')).toHaveLength(1)
    expect(await engine.step()).toEqual([{ kind: 'end', id: 'a', reason: 'cancelled' }])
  })

  it('finish() ends with stop; whichever of cancel() and finish() came first counts, once', async () => {
    const { engine } = setup()
    engine.submit(request('a'))
    engine.submit(request('b'))
    await engine.step()
    engine.finish('a')
    engine.cancel('a')
    engine.cancel('b')
    engine.finish('b')
    const events = await drain(engine)
    expect([endsOf(events, 'a'), endsOf(events, 'b')]).toEqual([['stop'], ['cancelled']])
    expect([tokensOf(events, 'a'), tokensOf(events, 'b')]).toEqual([[], []])
  })

  it('an end asked for is not passed on to a later sequence of the same id', async () => {
    const gate = Promise.withResolvers<void>()
    const { engine } = setup({ wait: () => gate.promise })
    engine.submit(request('a', { answerTokensMax: 1 }))
    const running = engine.step()
    engine.cancel('a')
    gate.resolve()
    expect(endsOf(await running, 'a')).toEqual(['length'])
    engine.submit(request('a'))
    expect(endsOf(await drain(engine), 'a')).toEqual(['length'])
  })

  it('unknown and ended ids are nothing to them', async () => {
    const { engine } = setup()
    engine.submit(request('a'))
    await drain(engine)
    engine.cancel('a')
    engine.finish('never')
    expect(engine.hasWork).toBe(false)
    expect(await engine.step()).toEqual([])
  })
})

describe('Engine, resumed answers', () => {
  it.each([0, 1, 2, 3])(
    'with %i tokens resumed, tells exactly the rest, with the indexes it had alone',
    async (count) => {
      const whole = setup()
      whole.engine.submit(request('a'))
      const alone = await drain(whole.engine)

      const { engine, steps } = setup()
      engine.submit(request('a', { resumedTokenIds: tokensOf(alone, 'a').slice(0, count) }))
      expect(await drain(engine)).toEqual(alone.slice(count))
      expect(steps[0]?.batch.sequences[0]?.tokenIds).toHaveLength(3 + count)
    },
  )

  it.each([
    ['at its length', [5, 5, 5, 5], 'length'],
    ['beyond its length', [5, 5, 5, 5, 5], 'length'],
    ['at a stop token', [5, stopTokenId], 'stop'],
  ])(
    'an answer complete already, %s, ends at once without a step of the Runner',
    async (_, resumedTokenIds, reason) => {
      const { engine, steps } = setup()
      expect(engine.submit(request('a', { resumedTokenIds }))).toEqual({ kind: 'accepted' })
      expect(await drain(engine)).toEqual([{ kind: 'end', id: 'a', reason }])
      expect(steps).toEqual([])
    },
  )
})

describe('Engine.drain()', () => {
  it('finishes what runs, hands back what waits, takes nothing any more', async () => {
    const { engine } = setup({ limits: { sequencesMax: 1 } })
    engine.submit(request('runs'))
    await engine.step()
    engine.submit(request('waits'))
    engine.drain()
    expect(engine.submit(request('late'))).toEqual({ kind: 'draining' })
    const events = await drain(engine)
    expect([endsOf(events, 'runs'), endsOf(events, 'waits')]).toEqual([['length'], ['handed-back']])
    expect(events[0]).toEqual({ kind: 'end', id: 'waits', reason: 'handed-back' })
  })

  it('a request that can never fit is still told so', () => {
    const { engine } = setup()
    engine.drain()
    expect(engine.submit(request('a', { promptTokenIds: prompt(32) })).kind).toBe('refused')
  })
})

describe('Engine, when things break', () => {
  it('I14: logits that are not finite end that one sequence; the others have the tokens they have alone', async () => {
    const healthy: Seed = [2, 2]
    const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: healthy }
    const { engine, runner } = setup({ isNotFinite: (of, index) => of[0] === seed[0] && index === 1 })
    engine.submit(request('broken'))
    engine.submit(request('healthy', { sampling }))
    const events = await drain(engine)
    expect(tokensOf(events, 'broken')).toHaveLength(1)
    expect(endsOf(events, 'broken')).toEqual(['not-finite'])
    expect(tokensOf(events, 'healthy')).toEqual([0, 1, 2, 3].map((index) => runner.tokenAt(healthy, index)))
  })

  it('a step that the Runner rejects is StepFailed with its cause, and the engine steps no more', async () => {
    const { engine, steps } = setup({ rejectAtStep: 1 })
    engine.submit(request('a'))
    await engine.step()
    const failure = await engine.step().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(StepFailed)
    expect(failure).toMatchObject({
      message: 'Cannot run a step of 1 sequences',
      cause: { message: 'Injected failure of step 1' },
    })
    await expect(engine.step()).rejects.toBe(failure)
    expect(steps).toHaveLength(1)
  })

  it.each([
    ['too few results', []],
    ['no result where one was asked for', [null]],
    ['a token outside the vocabulary', [{ kind: 'token', tokenId: 64 } as const]],
  ])('a Runner that answers %s fails the step instead of the log', async (_, sampled) => {
    const { runner } = setup()
    const { limits, fingerprint } = runner
    const engine = new Engine({ limits, fingerprint, run: async () => ({ sampled }), close: () => runner.close() })
    engine.submit(request('a'))
    await expect(engine.step()).rejects.toBeInstanceOf(StepFailed)
  })

  it('two steps at once are a mistake of the caller, and harm nothing', async () => {
    const gate = Promise.withResolvers<void>()
    const { engine } = setup({ wait: () => gate.promise })
    engine.submit(request('a'))
    const first = engine.step()
    await expect(engine.step()).rejects.toThrow('a step is running')
    gate.resolve()
    expect(tokensOf(await first, 'a')).toHaveLength(1)
    expect(endsOf(await drain(engine), 'a')).toEqual(['length'])
  })
})
