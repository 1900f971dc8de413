/**
 * `npm run prove -- fuzz`: 10,000 broken checkpoint folders; each loads or is refused by a CheckpointError that names the
 * file, never anything else: no other error, no crash, no hang, no allocation that its files do not justify.
 *
 * Says the seed and counts what became of the cases. See fuzz/ for what a case is and how it is judged.
 */
import * as fc from 'fast-check'
import { corpus, fuzzCase } from './fuzz/cases.ts'
import { Hunt } from './fuzz/hunt.ts'

const caseCountFull = 10_000
const caseCountReduced = 400

export interface FuzzOptions {
  readonly full: boolean
  readonly seed?: number
  /** Of fuzz/readers.ts; all but `axle` must be caught. */
  readonly reader?: string
  /** Of one case. */
  readonly deadlineMs?: number
}

export interface FuzzCounts {
  loaded: number
  refused: number
}

/** Rejects with fast-check's report — seed, path, the smallest case — when a case ends otherwise. */
export async function fuzz({ full, seed = 1, reader = 'axle', deadlineMs }: FuzzOptions): Promise<FuzzCounts> {
  const numRuns = full ? caseCountFull : caseCountReduced
  const counts: FuzzCounts = { loaded: 0, refused: 0 }
  const hunt = await Hunt.open(reader, Object.keys(corpus), deadlineMs)
  console.log(`${numRuns} cases, seed ${seed}`)
  try {
    const property = fc.asyncProperty(fuzzCase, async (one) => {
      counts[(await hunt.run(one)).kind === 'loaded' ? 'loaded' : 'refused'] += 1
    })
    // A reader that must be caught need not be understood: its first case will do.
    await fc.assert(property, { numRuns, seed, endOnFailure: reader !== 'axle' })
    const { milliseconds, grownBytes } = hunt.most
    console.log(
      `${counts.loaded} loaded, ${counts.refused} were refused by name; the slowest took ${(milliseconds / 1000).toFixed(1)} s, ` +
        `and the process grew by ${Math.round(grownBytes / 2 ** 20)} MiB`,
    )
    return counts
  } finally {
    await hunt.close()
  }
}
