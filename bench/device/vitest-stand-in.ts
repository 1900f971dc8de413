/**
 * What kernel tests use of vitest, over node:test, for machines that have no vitest: same names, no looser verdicts.
 *
 * A matcher that is not here is a test that fails. Knows no file and counts nothing: `kernel-tests.ts` does.
 */
import { after, afterEach, before, beforeEach, suite, test } from 'node:test'
import { AssertionError } from 'node:assert'
import { basename } from 'node:path'
import { format, inspect, isDeepStrictEqual } from 'node:util'

export { after as afterAll, afterEach, before as beforeAll, beforeEach }

type Body = (...values: readonly unknown[]) => unknown
type Declare = (name: string, body: () => unknown) => unknown

/** `it(name, body)`, `it(name, options or body, body or milliseconds)` and `it.each(rows)(name, …)`. */
function declaring(declare: Declare): unknown {
  const one = (name: string, ...rest: readonly unknown[]): void => {
    void declare(name, () => bodyOf(rest)())
  }
  const each =
    (rows: readonly unknown[]) =>
    (name: string, ...rest: readonly unknown[]): void => {
      const body = bodyOf(rest)
      for (const row of rows) {
        const values: readonly unknown[] = Array.isArray(row) ? row : [row]
        void declare(titled(name, values), () => body(...values))
      }
    }
  return Object.assign(one, { each })
}

function isBody(value: unknown): value is Body {
  return typeof value === 'function'
}

function bodyOf(rest: readonly unknown[]): Body {
  const body = rest.find(isBody)
  if (body === undefined) throw new TypeError('A test without a body')
  return body
}

/** `$key` of the first value, then printf's letters. */
function titled(name: string, values: readonly unknown[]): string {
  const [first] = values
  const named = name.replaceAll(/\$(\w+)/g, (_, key: string) => format('%s', valueAt(first, key)))
  return named.includes('%') ? format(named.replaceAll('%f', '%s'), ...values) : named
}

function valueAt(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined
}

/** node:test knows this file as the one that declares. */
const file = basename(process.argv[1] ?? '')

export const it = declaring((name, body) => test(`${file}: ${name}`, async () => void (await body())))
export const describe = declaring((name, body) => suite(name, async () => void (await body())))

/** Numbers as Object.is has them. NaN is NaN, whatever its bits: typed arrays are compared value by value where bytes differ. */
function areEqual(left: unknown, right: unknown): boolean {
  if (isDeepStrictEqual(left, right)) return true
  if (!isFloats(left) || !isFloats(right) || left.constructor !== right.constructor) return false
  return left.length === right.length && left.every((value, i) => Object.is(value, right[i]))
}

function isFloats(value: unknown): value is Float32Array | Float64Array {
  return value instanceof Float32Array || value instanceof Float64Array
}

function holds(value: unknown, part: unknown): boolean {
  if (typeof part !== 'object' || part === null || Array.isArray(part)) return areEqual(value, part)
  return Object.entries(part).every(([key, own]) => holds(valueAt(value, key), own))
}

function throwsAs(run: unknown, wanted: unknown): boolean {
  try {
    if (isBody(run)) run()
    return false
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    if (wanted === undefined) return true
    return wanted instanceof RegExp ? wanted.test(message) : typeof wanted === 'string' && message.includes(wanted)
  }
}

function listOf(value: unknown): readonly unknown[] {
  return isIterable(value) ? Array.from(value) : []
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}

const claims: Readonly<Record<string, (got: unknown, wanted: unknown) => boolean>> = {
  toBe: (got, wanted) => Object.is(got, wanted),
  toEqual: areEqual,
  toStrictEqual: areEqual,
  toMatchObject: holds,
  toBeNull: (got) => got === null,
  toBeNaN: (got) => Number.isNaN(got),
  toHaveLength: (got, wanted) => listOf(got).length === wanted,
  toContain: (got, wanted) => listOf(got).includes(wanted),
  toContainEqual: (got, wanted) => listOf(got).some((own) => areEqual(own, wanted)),
  toBeLessThan: (got, wanted) => Number(got) < Number(wanted),
  toBeLessThanOrEqual: (got, wanted) => Number(got) <= Number(wanted),
  toBeGreaterThan: (got, wanted) => Number(got) > Number(wanted),
  toBeGreaterThanOrEqual: (got, wanted) => Number(got) >= Number(wanted),
  toThrow: throwsAs,
}

export function expect(got: unknown): unknown {
  const judge = (isNot: boolean) =>
    Object.fromEntries(
      Object.entries(claims).map(([name, claim]) => [
        name,
        (wanted?: unknown): void => {
          if (claim(got, wanted) !== isNot) return
          throw new AssertionError({
            message: `${isNot ? 'not ' : ''}${name}: got ${told(got)}, wanted ${told(wanted)}`,
          })
        },
      ]),
    )
  return { ...judge(false), not: judge(true) }
}

function told(value: unknown): string {
  return inspect(value, { breakLength: Infinity, compact: true, maxArrayLength: TOLD_VALUES })
}

const TOLD_VALUES = 8
