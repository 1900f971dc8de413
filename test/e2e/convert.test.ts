/** The reduced form of `npm run prove -- convert`: a few questions of each task, before and after quantising. */
import { expect, it } from 'vitest'
import { convert } from '../prove/convert.ts'

const deadlineMs = 240_000

it(
  'axk1-tiny converted to int8 answers within a point of the original; int4 answers too',
  { timeout: deadlineMs },
  async () => {
    await expect(convert({ full: false })).resolves.toBeUndefined()
  },
)
