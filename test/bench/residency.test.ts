/** Replayed caches: what their rates mean, and that nobody beats the one that knows what comes. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { recordedRoutes } from '../../bench/residency/recorded-routes.ts'
import { hitRate, type Policy, type Trace } from '../../bench/residency/replay.ts'

const policies: readonly Policy[] = ['ours', 'lru', 'belady']

function traceOf(...steps: readonly (readonly number[])[]): Trace {
  return steps.map((experts) => new Set(experts))
}

describe('hitRate()', () => {
  it('counts the experts of the counted steps that lay in a slot when the step began', () => {
    const layer = { expertCount: 4, slotCount: 4, countedFrom: 0 }
    const trace = traceOf([0, 1], [0, 1], [0, 2])
    for (const policy of policies) {
      expect(hitRate(trace, layer, policy)).toBe(50)
      expect(hitRate(trace, { ...layer, countedFrom: 1 }, policy)).toBe(75)
    }
  })

  it('of a round through more experts than slots: the least recently used holds none, Belady’s half', () => {
    const round = Array.from({ length: 300 }, (_, step) => [step % 3])
    const layer = { expertCount: 3, slotCount: 2, countedFrom: 3 }
    expect(hitRate(traceOf(...round), layer, 'lru')).toBe(0)
    expect(hitRate(traceOf(...round), layer, 'belady')).toBeCloseTo(50, 0)
  })

  it('is nowhere above Belady’s', () => {
    const lives = fc.integer({ min: 2, max: 10 }).chain((expertCount) =>
      fc.integer({ min: 1, max: expertCount }).chain((slotCount) =>
        fc.record({
          layer: fc.constant({ expertCount, slotCount, countedFrom: 0 }),
          steps: fc.array(
            fc.uniqueArray(fc.integer({ min: 0, max: expertCount - 1 }), { minLength: 1, maxLength: slotCount }),
            { minLength: 1, maxLength: 30 },
          ),
        }),
      ),
    )
    fc.assert(
      fc.property(lives, ({ layer, steps }) => {
        const trace = traceOf(...steps)
        const best = hitRate(trace, layer, 'belady')
        for (const policy of policies) expect(hitRate(trace, layer, policy)).toBeLessThanOrEqual(best)
      }),
    )
  })

  it('over axk1-tiny’s own routes, half of the experts in slots, is higher for ours than for the least recently used', async () => {
    const { expertCount, traces } = await recordedRoutes(1)
    const layer = { expertCount, slotCount: expertCount / 2, countedFrom: 1 }
    const mean = (policy: Policy): number =>
      traces.reduce((sum, trace) => sum + hitRate(trace, layer, policy), 0) / traces.length
    expect(traces.length).toBe(5)
    expect(mean('ours')).toBeGreaterThan(mean('lru') + 1)
  })
})
