/**
 * `npm run prove -- simulation`: the engine over seeded lives, 100,000 in full; see test/engine/simulation.ts.
 *
 * It knows only how many lives to run and how to say what they went through. Rejects with the seed of a broken one.
 */
import { emptyCounts } from '../engine/simulation-counts.ts'
import { simulate } from '../engine/simulation.ts'

const lifeCountFull = 100_000
const lifeCountReduced = 10_000
const reportCount = 10

export async function simulation(options: { readonly full: boolean }): Promise<void> {
  const lifeCount = options.full ? lifeCountFull : lifeCountReduced
  const counts = emptyCounts()
  for (let seed = 0; seed < lifeCount; seed += 1) {
    await simulate(seed, counts).catch((cause: unknown) => {
      throw new Error(`Life of seed ${seed} broke a promise of the engine`, { cause })
    })
    if ((seed + 1) % (lifeCount / reportCount) === 0) {
      const { steps, tokens, preemptions, promptHits, answerHits } = counts
      console.log(
        `${seed + 1} lives: ${steps} steps, ${tokens} tokens, ${preemptions} preemptions, ${promptHits + answerHits} prefix hits`,
      )
    }
  }
  console.log('Nothing differed from alone, nothing starved, every block came back:', counts)
}
