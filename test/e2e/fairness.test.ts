/** `npm run prove -- fairness` in its short form; what fairness promises to the token is `test/contract/fair-queueing.test.ts`. */
import { expect, it } from 'vitest'
import { fairness } from '../prove/fairness.ts'

it('a tenant that asks for ten times its share lets another wait no longer, and their service parts within the bound', async () => {
  await expect(fairness({ full: false })).resolves.toBeUndefined()
})
