/** What steps and sequences share: cached prefixes, and the Runner while another step is in flight. */
import { describe, expect, it } from 'vitest'
import type { Batch } from '../../gpu-worker/engine/batch.ts'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import type { FakeStep, Seed } from '../fake-runner.ts'
import { cachedOf, drain, endsOf, prompt, request, seed, setup, tokensOf, wholeLife } from './engine-setup.ts'

/** Rows of a step, by sequence. */
function rowCounts(step: FakeStep | undefined): number[] {
  return (step?.batch.sequences ?? []).map(({ tokenIds }) => tokenIds.length)
}

describe('Engine, cached prefixes', () => {
  const tenantId = 'acme'
  const long = Array.from({ length: 11 }, (_, at) => at + 1)

  it('a second turn computes only what is new: prompt and answer of the first are cached', async () => {
    const { engine, steps, runner } = setup()
    engine.submit(request('first', { tenantId, promptTokenIds: long }))
    const answer = tokensOf(await drain(engine), 'first')
    const secondTurn = [...long, ...answer, 7, 8]
    engine.submit(request('second', { tenantId, promptTokenIds: secondTurn }))
    const stepCount = steps.length
    const events = await wholeLife(engine)
    // 11 + 3 tokens were computed (the last one's row never runs): three blocks of 4.
    expect(cachedOf(events, 'second')).toEqual([12])
    expect(steps[stepCount]?.batch.sequences[0]).toMatchObject({ start: 12, tokenIds: secondTurn.slice(12) })
    expect(tokensOf(events, 'second')).toEqual([0, 1, 2, 3].map((index) => runner.tokenAt(seed, index)))
  })

  it('n = 4: four answers to one prompt compute it once; each its own end of it and its answer', async () => {
    const { engine, steps } = setup()
    const ids = ['a', 'b', 'c', 'd']
    for (const id of ids) engine.submit(request(id, { tenantId, promptTokenIds: long, answerTokensMax: 1 }))
    const events = await wholeLife(engine)
    expect(ids.map((id) => cachedOf(events, id))).toEqual([[0], [8], [8], [8]])
    expect(steps.map(rowCounts)).toEqual([
      [11, 3, 2],
      [1, 3],
    ])
  })

  it('I8: two tenants with the same prompt at the same time share nothing', async () => {
    const { engine, steps } = setup({ limits: { rowsMax: 32 } })
    for (const id of ['acme', 'zenith']) engine.submit(request(id, { tenantId: id, promptTokenIds: long }))
    const events = await wholeLife(engine)
    expect(['acme', 'zenith'].map((id) => cachedOf(events, id))).toEqual([[0], [0]])
    expect(rowCounts(steps[0])).toEqual([11, 11])
  })

  it('whoever comes behind a prefix whose owner is cancelled in it computes the rest', async () => {
    const { engine, steps } = setup({}, { prefillRowsMax: 4 })
    for (const id of ['gone', 'stays'])
      engine.submit(request(id, { tenantId, promptTokenIds: long, answerTokensMax: 1 }))
    await engine.step()
    engine.cancel('gone')
    const events = await wholeLife(engine)
    expect(cachedOf(events, 'stays')).toEqual([4])
    expect(endsOf(events, 'stays')).toEqual(['length'])
    expect(steps.map(rowCounts)).toEqual([[4], [4], [3]])
  })

  it('a hit never covers the last token', async () => {
    const { engine } = setup()
    for (const id of ['a', 'b']) engine.submit(request(id, { tenantId, promptTokenIds: long.slice(0, 8) }))
    const events = await wholeLife(engine)
    expect(['a', 'b'].map((id) => cachedOf(events, id))).toEqual([[0], [4]])
  })

  const strangers: readonly (readonly [string | undefined, string | undefined])[] = [
    ['acme', 'zenith'],
    ['acme', undefined],
    [undefined, undefined],
    ['acme', 'acme '],
    ['', 'acme'],
  ]
  it.each(strangers)('I8: tenants %o and %o with the same prompt share nothing', async (mine, other) => {
    const { engine } = setup()
    const [own, foreign] = [mine, other].map((id) => (id === undefined ? {} : { tenantId: id }))
    engine.submit(request('a', { promptTokenIds: long, ...own }))
    await drain(engine)
    engine.submit(request('b', { promptTokenIds: long, ...foreign }))
    expect(cachedOf(await wholeLife(engine), 'b')).toEqual([0])
  })

  it('cached blocks go to whoever needs them, the longest unused first and ends before beginnings', async () => {
    const { engine } = setup({ limits: { blockCount: 8 } })
    const prompts = [1, 2].map((first) => [first].concat(long.slice(1)))
    for (const [at, promptTokenIds] of prompts.entries()) {
      engine.submit(request(`${at}`, { tenantId, promptTokenIds, answerTokensMax: 1 }))
      await drain(engine)
    }
    expect(engine.stats()).toMatchObject({ freeBlockCount: 4, cachedBlockCount: 4 })
    // Takes the four free ones and the end of prompt 0, whose beginning is still found.
    engine.submit(request('2', { promptTokenIds: prompt(17), answerTokensMax: 1 }))
    await drain(engine)
    for (const [at, promptTokenIds] of prompts.entries()) {
      engine.submit(request(`again-${at}`, { tenantId, promptTokenIds, answerTokensMax: 1 }))
      expect(cachedOf(await wholeLife(engine), `again-${at}`)).toEqual([[4], [8]][at])
    }
  })
})

describe('Engine over a Runner that overlaps steps', () => {
  const limits = { stepsInFlightMax: 2 } as const

  it('gives a step before it looks at the one before, fed by it, and tells the same answer', async () => {
    const { engine, runner, steps } = setup({ limits })
    engine.submit(request('a'))
    expect((await engine.step()).map(({ kind }) => kind)).toEqual(['start'])
    expect((await engine.step()).map(({ kind }) => kind)).toEqual(['token'])
    const tokens = [0, 1, 2, 3].map((index) => runner.tokenAt(seed, index))
    expect(tokensOf(await drain(engine), 'a')).toEqual(tokens.slice(1))
    // The length is known beforehand: no step too many.
    expect(steps).toHaveLength(4)
  })

  it('a stop costs one discarded step, and none is told of it', async () => {
    const { engine, steps } = setup({ limits, stopIndex: () => 1 })
    engine.submit(request('a'))
    const events = await drain(engine)
    expect(tokensOf(events, 'a')).toHaveLength(2)
    expect(endsOf(events, 'a')).toEqual(['stop'])
    expect(steps).toHaveLength(3)
  })

  it('a steered sequence is never fed: it runs in every second step', async () => {
    const other: Seed = [2, 2]
    const fed: Seed[] = []
    const { runner, steps } = setup({ limits })
    const watching = {
      limits: runner.limits,
      fingerprint: 'watching',
      close: () => runner.close(),
      run: (batch: Batch) => {
        for (const { fedFrom, sampler } of batch.sequences) if (fedFrom !== undefined && sampler) fed.push(sampler.seed)
        return runner.run(batch)
      },
    }
    const watched = new Engine(watching)
    watched.submit(request('steered', { steer: () => ({}) }))
    watched.submit(request('free', { sampling: { ...request('free').sampling, seed: other }, answerTokensMax: 8 }))
    const events = await drain(watched)
    expect(tokensOf(events, 'steered')).toEqual([0, 1, 2, 3].map((index) => runner.tokenAt(seed, index)))
    expect(new Set(fed.map(([word]) => word))).toEqual(new Set([other[0]]))
    expect(steps.length).toBeGreaterThan(7)
  })

  it('a step that fails in flight fails the next step(), behind the events of the one before it', async () => {
    const { engine } = setup({ limits, rejectAtStep: 1 })
    engine.submit(request('a'))
    await engine.step()
    expect(tokensOf(await engine.step(), 'a')).toHaveLength(1)
    const failure = await engine.step().catch((error: unknown) => error)
    expect(failure).toMatchObject({ name: 'StepFailed', cause: { message: 'Injected failure of step 1' } })
    await expect(engine.step()).rejects.toBe(failure)
  })
})
