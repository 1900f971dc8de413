/**
 * How fields of a model's JSON configs are judged: used, harmless, or only bearable with one value; and how a problem reads.
 *
 * It knows no field by name.
 */
import { z } from 'zod'
import { nameOrQuote, quote } from './checkpoint-error.ts'

/** A field that cannot change what is computed. */
export const harmless = z.unknown().optional()

/** A field that would change what is computed unless it has this value; absent and null mean this value. */
export function only(value: string | number | boolean | null): z.ZodOptional {
  const isIt = (got: unknown): boolean => got === null || got === value
  const error = (issue: { readonly input?: unknown }): string =>
    `not supported yet: ${quote(issue.input)} (only ${value === null ? 'absent' : quote(value)})`
  return z.unknown().refine(isIt, { error }).optional()
}

/** An object that would change what is computed unless it is empty. */
export const onlyEmpty = z
  .unknown()
  .refine((got) => got === null || (typeof got === 'object' && Object.keys(got).length === 0), {
    error: (issue) => `not supported yet: ${quote(issue.input)} (only absent or empty)`,
  })
  .optional()

/** Every problem with its field, in one line. */
export function describeProblems(error: z.ZodError): string {
  return error.issues.map(describeIssue).join('; ')
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const field = issue.path.map(nameOrQuote).join('.')
  if (issue.code === 'unrecognized_keys') {
    return `unknown field ${issue.keys.map(quote).join(', ')}${field === '' ? '' : ` in ${field}`}`
  }
  return field === '' ? issue.message : `${field}: ${issue.message}`
}
