/**
 * A failed validation → the one error a client sees: code, parameter, and what was expected.
 *
 * It knows zod's issues, not any request, and says nothing in zod's words. Values are never quoted, since they are a
 * tenant's; parameter names are, cut.
 */
import type { z } from 'zod'
import { AppError, isErrorCode, type ErrorCode } from '../contract/errors.ts'

type Issue = z.core.$ZodIssue
const paramCharsMax = 64
/** What follows a key's kind, where somebody pasted one in the wrong place. */
const keyText = /(?<=axle_(live|admin)_)\w+/g

/** Adds an issue that carries its own code. */
export function refuse(
  context: z.core.$RefinementCtx,
  code: ErrorCode,
  message: string,
  path: PropertyKey[] = [],
): void {
  context.addIssue({ code: 'custom', params: { code }, message, path })
}

/** @param error of a parse with `reportInput`, which tells a missing value from a wrong one. */
export function requestError(error: z.ZodError): AppError {
  const [first] = error.issues
  if (first === undefined) return new AppError('invalid_value', 'The request is not valid.')
  const issue = deepest(first)
  const param = paramName(issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : issue.path)
  const code = codeOf(issue)
  return new AppError(code, messageOf(code, param, issue), { param: param === '' ? null : param })
}

/** Of a union the branch that got furthest is the one that was meant: past its type, or deeper into the value. */
function deepest(issue: Issue): Issue {
  if (issue.code !== 'invalid_union') return issue
  const isType = (branch: Issue) => branch.code === 'invalid_type' || branch.code === 'invalid_union'
  const reach = (branch: Issue) => branch.path.length * 2 + (isType(branch) ? 0 : 1)
  return issue.errors
    .flatMap(([first]) => (first === undefined ? [] : [deepest({ ...first, path: [...issue.path, ...first.path] })]))
    .reduce<Issue>((best, branch) => (reach(branch) > reach(best) ? branch : best), issue)
}

function codeOf(issue: Issue): ErrorCode {
  if (issue.code === 'custom') {
    const code: unknown = issue.params?.['code']
    return typeof code === 'string' && isErrorCode(code) ? code : 'invalid_value'
  }
  if (issue.code === 'unrecognized_keys') return 'unknown_parameter'
  if (issue.code !== 'invalid_type' && issue.code !== 'invalid_union') return 'invalid_value'
  if (issue.code === 'invalid_union' && issue.discriminator !== undefined) {
    const hasTag = typeof issue.input === 'object' && issue.input !== null && issue.discriminator in issue.input
    return hasTag ? 'invalid_value' : 'missing_required_parameter'
  }
  return issue.input === undefined ? 'missing_required_parameter' : 'invalid_type'
}

function messageOf(code: ErrorCode, param: string, issue: Issue): string {
  switch (code) {
    case 'unknown_parameter':
      return `Unknown parameter: '${param}'.`
    case 'missing_required_parameter':
      return `Missing required parameter: '${param}'.`
    case 'unsupported_parameter':
      return `'${param}' ${issue.message}.`
    case 'contradictory_parameters':
      return issue.message
    case 'invalid_type':
      return `Invalid type for '${param}': ${expectation(issue)}.`
    default:
      return `Invalid value for '${param}': ${expectation(issue)}.`
  }
}

/** In plain words; where the schema says it itself, in its own. */
function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${typeNames[issue.expected] ?? issue.expected}, got ${typeOf(issue.input)}`
    case 'too_small':
      return `expected ${amount(issue.inclusive === false ? 'more than' : 'at least', issue.minimum, issue.origin)}`
    case 'too_big':
      return `expected ${amount(issue.inclusive === false ? 'less than' : 'at most', issue.maximum, issue.origin)}`
    case 'invalid_value':
      return `expected one of ${issue.values.map((value) => `'${String(value)}'`).join(', ')}`
    default:
      return issue.message
  }
}

const typeNames: Readonly<Record<string, string>> = {
  array: 'an array',
  boolean: 'a boolean',
  int: 'an integer',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a string',
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  // JSON has no infinity: it is what a number beyond the range of a double becomes.
  if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY) return 'one out of range'
  if (typeof value === 'number' && !Number.isInteger(value)) return 'a fraction'
  return typeNames[typeof value] ?? typeof value
}

/** `at most 2`, `at least 1 character`, `at most 4 items`. */
function amount(relation: string, bound: number | bigint, origin: string): string {
  const unit = { string: ' character', array: ' item' }[origin] ?? ''
  return `${relation} ${bound}${unit}${unit === '' || Number(bound) === 1 ? '' : 's'}`
}

/** `messages[0].content`, as OpenAI writes it. */
function paramName(path: readonly PropertyKey[]): string {
  let name = ''
  for (const step of path) {
    if (typeof step === 'number') name += `[${step}]`
    else name += name === '' ? String(step) : `.${String(step)}`
  }
  const told = name.replaceAll(keyText, '…')
  return told.length > paramCharsMax ? `${told.slice(0, paramCharsMax)}…` : told
}
