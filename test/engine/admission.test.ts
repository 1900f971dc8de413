/** Who runs next, pair by pair, at both sides of every bound. */
import { describe, expect, it } from 'vitest'
import { firstInOrder } from '../../gpu-worker/engine/admission.ts'
import { Sequence, type ServiceClass } from '../../gpu-worker/engine/sequence.ts'

interface Waiting {
  readonly id: string
  readonly serviceClass?: ServiceClass
  readonly arrivedMs?: number
  readonly capMs?: number
  readonly tokens?: number
  readonly cached?: number
  readonly hasStarted?: boolean
}

/** Ids in the order in which they run at `nowMs`, each taken out before the next is asked for. */
function order(nowMs: number, waiting: readonly Waiting[]): string[] {
  const cachedOf = new Map<Sequence, number>()
  const sequences = waiting.map((one, arrival) => {
    const { id, serviceClass = 'interactive', arrivedMs = 0, capMs = 1_000, tokens = 10, cached = 0 } = one
    const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] } as const
    const promptTokenIds = Array.from({ length: tokens }, () => 1)
    const request = { id, promptTokenIds, sampling, stopTokenIds: [], answerTokensMax: 1, serviceClass }
    const sequence = new Sequence(request, arrival, 10_000)
    sequence.arrivedMs = arrivedMs
    sequence.dueMs = arrivedMs + capMs
    sequence.hasStarted = one.hasStarted ?? false
    cachedOf.set(sequence, cached)
    return sequence
  })
  const left = new Set(sequences)
  const ids: string[] = []
  while (left.size > 0) {
    const next = firstInOrder(left, nowMs, (sequence) => sequence.tokenIds.length - (cachedOf.get(sequence) ?? 0))
    if (next === null) break
    left.delete(next)
    ids.push(next.id)
  }
  return ids
}

describe('firstInOrder()', () => {
  const pairs: readonly (readonly [string, number, Waiting, Waiting])[] = [
    ['equals by submission', 0, { id: 'first' }, { id: 'then' }],
    ['the higher response ratio', 100, { id: 'first', tokens: 10 }, { id: 'then', tokens: 11 }],
    ['a long wait over a short prompt', 100, { id: 'first', tokens: 100 }, { id: 'then', arrivedMs: 60, tokens: 10 }],
    [
      'a short prompt over a long wait that is not long enough',
      100,
      { id: 'first', arrivedMs: 50, tokens: 10 },
      { id: 'then', tokens: 100 },
    ],
    ['what is cached is no service', 100, { id: 'first', tokens: 500, cached: 495 }, { id: 'then', tokens: 10 }],
    [
      'the class over the ratio',
      900,
      { id: 'first', tokens: 999, arrivedMs: 899 },
      { id: 'then', serviceClass: 'think' },
    ],
    ['thinking over batch', 900, { id: 'first', serviceClass: 'think' }, { id: 'then', serviceClass: 'batch' }],
    ['the class until the cap', 999, { id: 'first' }, { id: 'then', serviceClass: 'batch' }],
    ['the cap over the class', 1_000, { id: 'first', serviceClass: 'batch' }, { id: 'then', arrivedMs: 1 }],
    ['the first due, past the cap', 5_000, { id: 'first', tokens: 900 }, { id: 'then', arrivedMs: 1, tokens: 1 }],
    [
      'a later arrival of a shorter cap, if it is due before',
      5_000,
      { id: 'first', arrivedMs: 100, capMs: 1_000 },
      { id: 'then', capMs: 1_101, serviceClass: 'batch' },
    ],
    [
      'who was preempted over who is new, within a class',
      500,
      { id: 'first', arrivedMs: 499, tokens: 900, hasStarted: true },
      { id: 'then', tokens: 1 },
    ],
    ['the class over having started', 500, { id: 'first' }, { id: 'then', serviceClass: 'batch', hasStarted: true }],
    ['the cap over having started', 1_000, { id: 'first' }, { id: 'then', arrivedMs: 1, hasStarted: true }],
  ]
  it.each(pairs)('puts first: %s', (_, nowMs, first, then) => {
    expect(order(nowMs, [first, then]).at(0)).toBe('first')
    const isTie = first.tokens === then.tokens && Object.keys(first).length === 1 && Object.keys(then).length === 1
    expect(order(nowMs, [then, first])).toEqual(isTie ? ['then', 'first'] : ['first', 'then'])
  })

  it('I15: with every cap 0 it is first come, first served, whatever the class and length', () => {
    const waiting = Array.from({ length: 20 }, (_, at) => ({
      id: `${at}`,
      arrivedMs: at,
      capMs: 0,
      tokens: 1 + ((at * 7) % 20),
      serviceClass: (['batch', 'think', 'interactive'] as const)[at % 3] ?? 'batch',
    }))
    expect(order(20, waiting.toReversed())).toEqual(waiting.map(({ id }) => id))
  })

  it('without a clock new ones of a class run in order of submission', () => {
    const waiting = [30, 10, 20].map((tokens, at) => ({ id: `${at}`, tokens }))
    expect(order(0, waiting)).toEqual(['0', '1', '2'])
  })
})
