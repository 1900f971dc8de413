/**
 * Bytes of a request body → a JSON object, strictly: UTF-8 without a byte order mark, one object, bounded in depth and in
 * the number of its values, no lone surrogate, no key that could reach a prototype. Of duplicate keys the last wins; every later stage works on the
 * object parsed here, so all of them see the same one.
 *
 * Pure. It knows nothing of what the object should hold, and its errors never quote the body.
 */
import { AppError } from '../contract/errors.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Deeper than any request of the API; validators and serialisers recurse, this walk does not. */
export const nestingMax = 64
/** More than any request of the API; validation costs time and memory by the value, not by the byte. */
export const valuesMax = 65_536
const prototypeKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** @throws AppError 400. */
export function parseJsonBody(bytes: Uint8Array): JsonObject {
  const value = parse(decode(bytes))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AppError('invalid_type', 'Expected the request body to be a JSON object.')
  }
  inspect(value)
  return value as JsonObject
}

/** The same value in one spelling, whatever the order of its keys: what an idempotency slot compares. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, child: unknown) =>
    typeof child === 'object' && child !== null && !Array.isArray(child)
      ? Object.fromEntries(Object.entries(child).sort(([a], [b]) => (a < b ? -1 : 1)))
      : child,
  )
}

function decode(bytes: Uint8Array): string {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw new AppError('invalid_encoding', 'The request body begins with a byte order mark. Send UTF-8 without one.')
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new AppError('invalid_encoding', 'The request body is not valid UTF-8.', { cause })
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The engine's message quotes the text around the fault, so it is not passed on.
    throw new AppError('invalid_json', 'The request body is not valid JSON.')
  }
}

function inspect(root: object): void {
  const open: { value: unknown; depth: number }[] = [{ value: root, depth: 1 }]
  let valueCount = 1
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, depth } = next
    if (typeof value === 'string') requireWellFormed(value)
    if (typeof value !== 'object' || value === null) continue
    if (depth > nestingMax) {
      throw new AppError('invalid_value', `The request body is nested deeper than ${nestingMax} levels.`)
    }
    if (!Array.isArray(value)) Object.keys(value).forEach(requireHarmlessKey)
    const children: unknown[] = Object.values(value)
    valueCount += children.length
    if (valueCount > valuesMax) {
      throw new AppError('invalid_value', `The request body holds more than ${valuesMax} values.`)
    }
    for (const child of children) open.push({ value: child, depth: depth + 1 })
  }
}

function requireHarmlessKey(key: string): void {
  requireWellFormed(key)
  if (prototypeKeys.has(key)) {
    throw new AppError('unknown_parameter', `Unknown parameter: '${key}'.`, { param: key })
  }
}

function requireWellFormed(text: string): void {
  if (!text.isWellFormed()) {
    throw new AppError('invalid_encoding', 'The request body holds a lone surrogate, which is no Unicode text.')
  }
}
