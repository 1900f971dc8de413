/**
 * The operations of Jinja that make much of little, or search long, weighed before the library does them: it would not
 * look up until it is done. All others take and give at most what their operands weigh.
 */
import { BoundError, checkCharacters, ENTRIES_MAX, type JinjaValue, type Weights } from './jinja-weight.ts'

export interface Operation {
  readonly name: string
  readonly operand: JinjaValue
  readonly args: readonly JinjaValue[]
  readonly keywords: ReadonlyMap<string, JinjaValue>
}

/** Filters, and methods of a text, that `checkOperation` knows. */
export const weighedFilters: ReadonlySet<string> = new Set(['indent', 'join', 'replace', 'tojson'])
export const weighedMethods: ReadonlySet<string> = new Set(['replace', 'split'])

/** Characters compared by a search that finds no short cut: about a second's. */
const COMPARED_MAX = 2 ** 30

/** @throws BoundError. */
export function checkOperation({ name, operand, args, keywords }: Operation, weights: Weights): void {
  const { characters, nodes, depth } = weights.of(operand)
  switch (name) {
    case 'indent': {
      const width = Math.max(0, numberOf(args[0] ?? keywords.get('width')))
      return checkCharacters(characters + (1 + occurrences(textOf(operand), '\n')) * width)
    }
    case 'join': {
      const separator = textOf(args[0] ?? keywords.get('separator'))
      const count = Array.isArray(operand.value) ? operand.value.length : textOf(operand).length
      return checkCharacters(characters + count * separator.length)
    }
    case 'replace': {
      const [before, after] = [textOf(args[0]), textOf(args[1])]
      return checkCharacters(textOf(operand).length + occurrences(textOf(operand), before) * after.length)
    }
    case 'split': {
      const separator = textOf(args[0])
      const count = separator === '' ? wordCount(textOf(operand)) : occurrences(textOf(operand), separator)
      if (count > ENTRIES_MAX) throw new BoundError(`a list is longer than ${ENTRIES_MAX}`)
      return
    }
    case 'tojson': {
      const separators = keywords.get('separators')?.value
      const between = Array.isArray(separators) ? separators.reduce((sum, text) => sum + textOf(text).length, 0) : 0
      const indent = Math.max(0, numberOf(keywords.get('indent'))) * (depth + 1)
      return checkCharacters(characters + nodes * (indent + between))
    }
  }
}

/** How often a text stands in another, without overlapping. @throws BoundError where looking would take long. */
export function occurrences(text: string, sought: string): number {
  if (sought === '') return text.length + 1
  checkSearch(text, sought)
  let count = 0
  for (let at = text.indexOf(sought); at >= 0; at = text.indexOf(sought, at + sought.length)) count += 1
  return count
}

/** @throws BoundError. */
export function checkSearch(text: string, sought: string): void {
  if (sought.length <= text.length && sought.length * (text.length - sought.length + 1) > COMPARED_MAX) {
    throw new BoundError('it searches a long text in a longer one')
  }
}

function wordCount(text: string): number {
  let count = 0
  for (const _ of text.matchAll(/\S+/g)) {
    count += 1
    if (count > ENTRIES_MAX) break
  }
  return count
}

/** Empty, or 0, for a value of another kind: the library refuses it. */
function textOf(value: JinjaValue | undefined): string {
  return typeof value?.value === 'string' ? value.value : ''
}

function numberOf(value: JinjaValue | undefined): number {
  return typeof value?.value === 'number' ? value.value : 0
}
