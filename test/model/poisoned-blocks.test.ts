/**
 * Memory that nobody may read is full of NaN, and no answer shows it; memory that one sequence does read fails that one.
 *
 * The serving Engine over the serving Runner, steps one at a time and overlapping; bits of logits beside tokens.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WatchedRunner } from '../../bench/exactness/watched-runner.ts'
import type { Batch, BlockId } from '../../gpu-worker/engine/batch.ts'
import { Engine, type EngineEvent } from '../../gpu-worker/engine/engine.ts'
import type { Runner, StepResult } from '../../gpu-worker/engine/runner.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { endsOf, tokensOf } from '../engine/engine-setup.ts'

const checkpoint = join(import.meta.dirname, '../goldens/yarn-fused-bf16')
const answerTokens = 12
/** Two chunks of it. */
const promptTokens = 40
const prefillRowsMax = 24

/** From a sequence's second step on, reads a free block in place of its first: as if tables were not honoured. */
class MisreadTables implements Runner {
  readonly #inner: Runner
  readonly #freed: readonly BlockId[]

  /** @param freed blocks told free so far. */
  constructor(inner: Runner, freed: readonly BlockId[]) {
    this.#inner = inner
    this.#freed = freed
  }

  get limits() {
    return this.#inner.limits
  }

  get fingerprint() {
    return this.#inner.fingerprint
  }

  run(batch: Batch): Promise<StepResult> {
    const sequences = batch.sequences.map((rows) => {
      const free = rows.start === 0 ? undefined : this.#freed.find((block) => !rows.blocks.includes(block))
      return free === undefined ? rows : { ...rows, blocks: [free, ...rows.blocks.slice(1)] }
    })
    return this.#inner.run({ ...batch, sequences })
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

function submit(engine: Engine, number: number): void {
  const submission = engine.submit({
    id: `${number}`,
    promptTokenIds: Array.from({ length: promptTokens - number }, (_, i) => (i * 37 + number * 11) % 380),
    sampling: { temperature: number % 2, topK: 0, topP: 1, minP: 0, seed: [number, 1] },
    stopTokenIds: [],
    answerTokensMax: answerTokens,
  })
  assert.equal(submission.kind, 'accepted')
}

async function lifeOf(engine: Engine): Promise<EngineEvent[]> {
  const events: EngineEvent[] = []
  while (engine.hasWork) events.push(...(await engine.step()))
  engine.checkIntegrity()
  return events
}

describe.each([1, 2] as const)('with %i steps in flight', (stepsInFlight) => {
  let runner: ModelRunner
  beforeAll(async () => {
    ;({ runner } = await loadRunner({ checkpoint, sequencesMax: 4, rowsMax: 40, blockCount: 12, stepsInFlight }))
  })
  afterAll(() => runner.close())

  /** One sequence runs after two others have left their blocks, which are spoilt. */
  async function afterOthers(through: (freed: readonly BlockId[]) => Runner): Promise<EngineEvent[]> {
    const freed: BlockId[] = []
    const engine = new Engine(through(freed), {
      prefillRowsMax,
      onBlocksFreed: (blocks) => {
        runner.fillBlocks(blocks, Number.NaN)
        freed.push(...blocks)
      },
    })
    submit(engine, 0)
    submit(engine, 2)
    await lifeOf(engine)
    expect(freed.length).toBeGreaterThan(2)
    submit(engine, 1)
    return lifeOf(engine)
  }

  it('a sequence in blocks that were filled with NaN answers as in fresh ones', async () => {
    const engine = new Engine(runner, { prefillRowsMax })
    submit(engine, 1)
    const fresh = tokensOf(await lifeOf(engine), '1')
    expect(fresh).toHaveLength(answerTokens)
    expect(tokensOf(await afterOthers(() => runner), '1')).toEqual(fresh)
  })

  it('control: one whose table is not honoured reads the NaN, and fails', async () => {
    const events = await afterOthers((freed) => new MisreadTables(runner, freed))
    expect(endsOf(events, '1')).toEqual(['not-finite'])
  })

  it('logits that are not finite end their sequence, and change no bit of the others', async () => {
    const peaceful = await company(null)
    const spoilt = await company(1)
    expect(endsOf(spoilt.events, '1')).toEqual(['not-finite'])
    expect(tokensOf(spoilt.events, '1').length).toBeLessThan(answerTokens)
    for (const other of [0, 2, 3]) {
      expect(tokensOf(spoilt.events, `${other}`)).toEqual(tokensOf(peaceful.events, `${other}`))
      expect(spoilt.bits.get(other)).toEqual(peaceful.bits.get(other))
      expect(spoilt.bits.get(other)).toHaveLength(answerTokens * runner.limits.vocabSize)
    }
  })

  /** Four sequences together; the blocks of one are spoilt once all of them decode. */
  async function company(victim: number | null) {
    const rows = new Map<number, number[]>()
    const watched = new WatchedRunner(runner)
    watched.watch({
      onRow: ({ sampler: { seed }, logits }) => {
        const all = rows.get(seed[0]) ?? []
        rows.set(seed[0], [...all, ...new Uint32Array(logits.slice().buffer)])
      },
      onCut: () => undefined,
    })
    const tables = new TableWatch(watched)
    const engine = new Engine(tables, { prefillRowsMax })
    for (const number of [0, 1, 2, 3]) submit(engine, number)
    const events: EngineEvent[] = []
    while (engine.hasWork) {
      events.push(...(await engine.step()))
      if (victim !== null && tokensOf(events, '3').length === 2) runner.fillBlocks(tables.of(victim), Number.NaN)
    }
    engine.checkIntegrity()
    return { events, bits: rows }
  }
})

/** Tells which blocks a sequence had in the last step, by its seed. */
class TableWatch implements Runner {
  readonly #inner: Runner
  readonly #tables = new Map<number, readonly BlockId[]>()

  constructor(inner: Runner) {
    this.#inner = inner
  }

  get limits() {
    return this.#inner.limits
  }

  get fingerprint() {
    return this.#inner.fingerprint
  }

  of(number: number): readonly BlockId[] {
    return this.#tables.get(number) ?? []
  }

  run(batch: Batch): Promise<StepResult> {
    for (const { sampler, blocks } of batch.sequences) if (sampler) this.#tables.set(sampler.seed[0], [...blocks])
    return this.#inner.run(batch)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
