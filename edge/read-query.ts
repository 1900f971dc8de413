/**
 * A query string → what a schema says of it, strictly: a parameter that nobody reads is a mistake of its sender.
 *
 * Arrays come as `name[]=a&name[]=b`, as OpenAI's SDKs send them, or as `name=a&name=b`. Pure; it knows no route.
 */
import { z } from 'zod'
import { requestError } from './request-errors.ts'

const digitsMax = 15
const itemsMax = 100

export const wholeNumber = z
  .string()
  .regex(new RegExp(`^\\d{1,${digitsMax}}$`), 'expected a whole number')
  .transform(Number)
export const trueOrFalse = z.enum(['true', 'false']).transform((text) => text === 'true')
export const textList = z
  .union([z.string().transform((text) => [text]), z.array(z.string())])
  .refine((items) => items.length <= itemsMax, `expected at most ${itemsMax} items`)

/** @throws AppError 400. */
export function readQuery<Fields>(url: string, schema: z.ZodType<Fields>): Fields {
  const parsed = schema.safeParse(fieldsOf(new URL(url).searchParams), { reportInput: true })
  if (!parsed.success) throw requestError(parsed.error)
  return parsed.data
}

function fieldsOf(parameters: URLSearchParams): Record<string, string | string[]> {
  const fields = new Map<string, string | string[]>()
  for (const written of new Set(parameters.keys())) {
    const name = written.replace(/\[\]$/, '')
    const values = [...parameters.getAll(name), ...parameters.getAll(`${name}[]`)]
    const [only] = values
    fields.set(name, written === name && values.length === 1 && only !== undefined ? only : values)
  }
  return Object.fromEntries(fields)
}
