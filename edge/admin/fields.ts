/**
 * Fields that several bodies of the Admin API share, each with its bounds. Schemas only: no resource, no table.
 */
import { z } from 'zod'
import { modelIdBytesMax } from '../../contract/limits.ts'
import { tenantScopes } from '../auth/scopes.ts'
import { isRange } from '../client-address.ts'
import { refuse } from '../request-errors.ts'

const nameCharsMax = 200
const listItemsMax = 64
const secondMs = 1_000
const daySeconds = 86_400
/** Ten years: what is meant to last longer has no end. */
const lifetimeSecondsMax = 3_653 * daySeconds

/** What people read: one line. */
export const nameField = z
  .string()
  .min(1)
  .max(nameCharsMax)
  .refine((name) => name.trim() !== '' && !/\p{Cc}/u.test(name), 'expected one line of text')
export const lifetimeField = z.int().min(1).max(lifetimeSecondsMax)
export const scopesField = z.array(z.enum(tenantScopes)).min(1).transform(distinct)
export const modelsField = z.array(z.string().min(1).max(modelIdBytesMax)).min(1).max(listItemsMax).transform(distinct)
export const rangesField = z
  .array(z.string().refine(isRange, 'expected an address or range of IPv4 or IPv6'))
  .min(1)
  .max(listItemsMax)
  .transform(distinct)
export const noFields = z.strictObject({})

/** An update names what it changes. */
export function someOf<Fields extends Record<string, unknown>>(schema: z.ZodType<Fields>): z.ZodType<Fields> {
  return schema.superRefine((fields, context) => {
    if (Object.keys(fields).length > 0) return
    refuse(context, 'contradictory_parameters', 'Send at least one field to change.')
  })
}

/** @returns null for no end. */
export function endOf(lifetimeSeconds: number | null, nowMs: number): number | null {
  return lifetimeSeconds === null ? null : nowMs + lifetimeSeconds * secondMs
}

function distinct<T>(items: readonly T[]): T[] {
  return [...new Set(items)]
}
