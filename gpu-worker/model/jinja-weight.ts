/**
 * How much a value of a template is, written out: characters, nodes, depth. What shares parts is counted as often as it
 * stands somewhere, as a loop over it would find it; so `[l, l]` of `[l, l]` … is as heavy as its text.
 *
 * It knows the values of the Jinja library by their shape alone, and no template.
 */

/** A bound was met. What it says holds nothing of the template's input. */
export class BoundError extends Error {
  override readonly name = 'BoundError'
}

/** Twice the longest body of a request: of one text, and of one value written out. */
export const CHARACTERS_MAX = 8 << 20
/** Entries of one list or mapping. */
export const ENTRIES_MAX = 1 << 17
const DEPTH_MAX = 100

/** A value of the library: text, a number, an array, a Map or a function under `value`. */
export interface JinjaValue {
  readonly type: string
  readonly value: unknown
}

export interface Weight {
  readonly characters: number
  readonly nodes: number
  /** 0 of what holds nothing. */
  readonly depth: number
}

/** Quotes, a separator. */
const PER_NODE_CHARACTERS = 4
const PER_NUMBER_CHARACTERS = 8

export class Weights {
  readonly #known = new WeakMap<object, Weight>()

  isKnown(value: JinjaValue): boolean {
    return typeof value.value === 'object' && value.value !== null && this.#known.has(value.value)
  }

  /** @throws BoundError when it is more than one value may be. */
  of({ type, value }: JinjaValue): Weight {
    if (typeof value === 'string') {
      checkCharacters(value.length)
      return { characters: value.length + PER_NODE_CHARACTERS, nodes: 1, depth: 0 }
    }
    if (!Array.isArray(value) && !(value instanceof Map)) {
      return { characters: PER_NUMBER_CHARACTERS, nodes: 1, depth: 0 }
    }
    const known = this.#known.get(value)
    if (known !== undefined) return known
    const weight = Array.isArray(value) ? this.#sum(value, 0) : this.#sum([...value.values()], keysLength(value))
    // A namespace changes; all else is made once.
    if (type !== 'NamespaceValue') this.#known.set(value, weight)
    return weight
  }

  #sum(items: readonly unknown[], keyCharacters: number): Weight {
    if (items.length > ENTRIES_MAX) throw new BoundError(`a list is longer than ${ENTRIES_MAX}`)
    let [characters, nodes, depth] = [keyCharacters + PER_NODE_CHARACTERS, 1, 0]
    for (const item of items) {
      if (!isJinjaValue(item)) continue
      // It could come to hold itself.
      if (item.type === 'NamespaceValue') throw new BoundError('it puts a namespace into a value')
      const weight = this.of(item)
      characters += weight.characters
      nodes += weight.nodes
      depth = Math.max(depth, weight.depth + 1)
      checkCharacters(characters)
      if (depth > DEPTH_MAX) throw new BoundError(`a value nests deeper than ${DEPTH_MAX}`)
    }
    return { characters, nodes, depth }
  }
}

/** @throws BoundError. */
export function checkCharacters(count: number): void {
  if (count > CHARACTERS_MAX) throw new BoundError(`it makes more than ${CHARACTERS_MAX} characters`)
}

export function isJinjaValue(value: unknown): value is JinjaValue {
  return typeof value === 'object' && value !== null && 'type' in value && 'value' in value
}

function keysLength(map: ReadonlyMap<unknown, unknown>): number {
  let length = 0
  for (const key of map.keys()) length += String(key).length + PER_NODE_CHARACTERS
  return length
}
