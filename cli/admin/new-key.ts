/** What `axle key` and `axle admin-key` say of a key just made, which is shown this once. It knows no path. */
import type { z } from 'zod'
import type { newKeyAnswer } from './answers.ts'
import type { Call } from './command.ts'
import { moment } from './values.ts'

export function requireName(call: Call): void {
  if (call.option('name') === undefined) throw new TypeError('create: expected --name, by which people tell keys apart')
}

export function handKey(call: Call, kind: 'Key' | 'Admin key', made: z.infer<typeof newKeyAnswer>): void {
  const end = made.expires_at === null ? 'does not expire' : `expires ${moment(made.expires_at)}`
  call.hand(made, made.value, `${kind} ${made.id}, ${end}. Keep the line above: it is never shown again.`)
}
