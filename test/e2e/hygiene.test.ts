/** The reduced form of `npm run prove -- hygiene`: no client that stalls, nobody killed. */
import { expect, it } from 'vitest'
import { hygiene } from '../prove/hygiene.ts'

const deadlineMs = 240_000

it(
  'no prompt, key or secret shows up in logs, metrics, errors, names of keys or tables, through success and failures',
  { timeout: deadlineMs },
  async () => {
    await expect(hygiene({ full: false })).resolves.toBeUndefined()
  },
)
