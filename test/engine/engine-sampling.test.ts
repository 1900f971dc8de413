/** What a sampler row knows of its sequence, and what is told of tokens beside their ids. */
import { describe, expect, it } from 'vitest'
import { contextHash, logProbsOf } from '../fake-runner.ts'
import { drain, request, seed, setup, tokensOf, wholeLife } from './engine-setup.ts'

const plain = request('a').sampling
const penalties = { presence: 0.5, frequency: 0.25, repetition: 1.5 }

describe.each([1, 2] as const)('Engine with %i steps in flight', (stepsInFlightMax) => {
  const limits = { stepsInFlightMax }

  it('penalties know prompt and answer up to the token before, resumed ones too', async () => {
    const { engine, steps, runner } = setup({ limits })
    const tokens = [0, 1, 2, 3].map((index) => runner.tokenAt(seed, index))
    const resumedTokenIds = tokens.slice(0, 1)
    engine.submit(request('a', { sampling: { ...plain, penalties }, promptTokenIds: [5, 6, 5], resumedTokenIds }))
    await drain(engine)
    const seen = steps.flatMap(({ batch }) => batch.sequences.map(({ sampler }) => sampler?.penalties))
    const promptTokens = new Set([5, 6])
    for (const [step, index] of [1, 2, 3].entries()) {
      const answerCounts = new Map(tokens.slice(0, index).map((tokenId) => [tokenId, 1]))
      expect(seen[step]).toEqual({ ...penalties, promptTokens, answerCounts })
    }
    expect(seen).toHaveLength(3)
  })

  it('steer() is asked once for each token, when those before it were told, and its word counts', async () => {
    const { engine, steps } = setup({ limits })
    const known: number[] = []
    const asked: (readonly [number, number])[] = []
    const allowed = Uint32Array.of(1, 2)
    const steer = (index: number) => {
      asked.push([index, known.length])
      return index === 1 ? { forcedToken: 9 } : { allowed }
    }
    engine.submit(request('a', { steer }))
    while (engine.hasWork) known.push(...tokensOf(await engine.step(), 'a'))
    expect(asked).toEqual([0, 1, 2, 3].map((index) => [index, index]))
    expect(known[1]).toBe(9)
    const masks = steps.flatMap(({ batch }) => batch.sequences.map(({ sampler }) => sampler?.allowed))
    expect(masks).toEqual([allowed, undefined, allowed, allowed])
  })

  it('stop tokens are told to the sampler where a least number of tokens is asked for', async () => {
    const { engine, steps } = setup({ limits })
    engine.submit(request('a', { sampling: { ...plain, minTokens: 3 }, stopTokenIds: [7, 8], answerTokensMax: 1 }))
    await drain(engine)
    expect(steps[0]?.batch.sequences[0]?.sampler).toEqual({ ...plain, index: 0, minTokens: 3, stopTokenIds: [7, 8] })
  })

  it('token events carry the log probabilities that were asked for', async () => {
    const { engine, runner } = setup({ limits })
    engine.submit(request('a', { sampling: { ...plain, logprobCount: 2 }, answerTokensMax: 2 }))
    const tokens = (await drain(engine)).filter(({ kind }) => kind === 'token')
    expect(tokens).toEqual(
      [0, 1].map((index) => {
        const tokenId = runner.tokenAt(seed, index)
        return {
          kind: 'token',
          id: 'a',
          index,
          tokenId,
          logProbs: logProbsOf(tokenId, contextHash([...seed, index]), 2),
        }
      }),
    )
  })

  it('a prompt is told token by token from the second on, once, in steps of its own beside which others go on', async () => {
    const { engine, steps } = setup({ limits }, { prefillRowsMax: 4 })
    const promptTokenIds = Array.from({ length: 11 }, (_, at) => at + 1)
    engine.submit(request('other', { sampling: { ...plain, seed: [2, 2] }, answerTokensMax: 9 }))
    await engine.step()
    engine.submit(request('told', { promptTokenIds, promptLogprobCount: 1, tenantId: 'acme' }))
    const events = await wholeLife(engine)
    const told = events.filter(({ kind }) => kind === 'prompt-logprobs')
    expect(told).toEqual(
      promptTokenIds.slice(1).map((tokenId, at) => {
        const logProbs = logProbsOf(tokenId, contextHash(promptTokenIds.slice(0, at + 1)), 1)
        return { kind: 'prompt-logprobs', id: 'told', index: at + 1, logProbs }
      }),
    )
    const first = events.findIndex((event) => event.kind === 'token' && event.id === 'told')
    expect(events.findLastIndex(({ kind }) => kind === 'prompt-logprobs')).toBeLessThan(first)
    const tellingSteps = steps.flatMap(({ batch }, at) => (batch.sequences[0]?.promptLogprobs ? [at] : []))
    expect(tellingSteps.length).toBe(3)
    for (const at of tellingSteps) {
      expect(steps[at]?.batch.sequences).toHaveLength(1)
      expect(tellingSteps).not.toContain(at + 1)
    }
  })

  it('I14: a prompt that is told computes what is cached, and its own blocks are found by the next', async () => {
    const { engine, steps } = setup({ limits })
    const promptTokenIds = Array.from({ length: 11 }, (_, at) => at + 1)
    engine.submit(request('first', { promptTokenIds, tenantId: 'acme', answerTokensMax: 1 }))
    await drain(engine)
    const stepCount = steps.length
    engine.submit(request('told', { promptTokenIds, promptLogprobCount: 0, tenantId: 'acme', answerTokensMax: 1 }))
    const events = await wholeLife(engine)
    expect(events[0]).toEqual({ kind: 'start', id: 'told', cachedTokenCount: 0 })
    expect(steps.slice(stepCount).map(({ batch }) => batch.sequences[0]?.tokenIds.length)).toEqual([10, 1])
    engine.submit(request('next', { promptTokenIds, tenantId: 'acme', answerTokensMax: 1 }))
    expect((await wholeLife(engine))[0]).toEqual({ kind: 'start', id: 'next', cachedTokenCount: 8 })
  })
})
