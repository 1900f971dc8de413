/** The reduced form of `npm run prove -- serving`: the product as a whole, started as a newcomer starts it. */
import { expect, it } from 'vitest'
import { serving } from '../prove/serving.ts'

const deadlineMs = 300_000

it(
  'npm start serves the openai SDK in both modes and languages, alone and 16 at once, through a killed worker',
  { timeout: deadlineMs },
  async () => {
    await expect(serving({ full: false })).resolves.toBeUndefined()
  },
)
