/** The reduced form of `npm run prove -- chaos`: one storm over the whole product. */
import { expect, it } from 'vitest'
import { chaos } from '../prove/chaos.ts'

const deadlineMs = 240_000

it(
  'killed workers, a frozen one, a killed Redis, a killed janitor and clients that leave change no answer and leave nothing behind',
  { timeout: deadlineMs },
  async () => {
    await expect(chaos({ full: false })).resolves.toBeUndefined()
  },
)
