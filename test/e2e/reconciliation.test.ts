/** The reduced form of `npm run prove -- reconciliation`: 300 requests instead of 10,000. */
import { expect, it } from 'vitest'
import { reconciliation } from '../prove/reconciliation.ts'

it(
  'clients, token logs, bills, sums and counters agree to the token, through killed workers, leavers, retries and a cut drain',
  { timeout: 240_000 },
  async () => {
    await expect(reconciliation({ full: false })).resolves.toBeUndefined()
  },
)
