/**
 * Python-style patterns over module names, as `quantization_config` has them.
 *
 * A checkpoint is untrusted: a pattern must not cost more than a bounded number of steps, which no backtracking engine
 * promises, so patterns are ours to run (`pattern-machine.ts`). What is not understood exactly as Python does is refused:
 * flags, back references, look-behind. It knows no module by name.
 */
import { CODES, PatternMachine, spend, type Instruction, type StepBudget } from './pattern-machine.ts'

const PATTERN_LENGTH_MAX = 1024
/** Instructions written for one pattern: repetitions are written out, groups copied into what they stand in. */
const WRITTEN_MAX = 1 << 16
const GROUP_DEPTH_MAX = 64
/** Machines are kept: a budget of 100 million steps keeps a million instructions at most, some 100 MB. */
const STEPS_PER_INSTRUCTION = 100

export interface ModulePattern {
  /** Whether the pattern matches from the name's first character on, as Python's `re.match`. Throws RangeError. */
  matches(name: string): boolean
}

/** Throws SyntaxError with what is wrong or not understood, RangeError when the budget is spent. */
export function compileModulePattern(source: string, budget: StepBudget): ModulePattern {
  if (source.length > PATTERN_LENGTH_MAX) throw new SyntaxError(`longer than ${PATTERN_LENGTH_MAX} characters`)
  if (/^[\w.-]*$/.test(source)) return { matches: (name) => beginsWith(name, source, budget) }
  const machine = new Compiler(source).compile()
  spend(budget, machine.size * STEPS_PER_INSTRUCTION)
  return { matches: (name) => machine.matches(name, 0, budget) }
}

/** A plain name as a pattern, where only the dots stand for any character: lists of thousands of them are usual. */
function beginsWith(name: string, source: string, budget: StepBudget): boolean {
  spend(budget)
  for (let i = 0; i < source.length; i++) {
    const code = source.charCodeAt(i)
    if (i >= name.length || (code !== DOT && code !== name.charCodeAt(i))) return false
  }
  return true
}

const DOT = '.'.charCodeAt(0)

/** Recursive descent: alternatives of sequences of repeated atoms, written out as instructions. */
class Compiler {
  readonly #source: string
  #at = 0
  /** Instructions written so far, copies included. */
  #written = 0
  #depth = 0

  constructor(source: string) {
    this.#source = source
  }

  compile(): PatternMachine {
    const code = this.#alternatives()
    if (this.#at < this.#source.length) throw this.#wrong('unbalanced ")"')
    return new PatternMachine(code)
  }

  #alternatives(): Instruction[] {
    const first = this.#sequence()
    if (!this.#take('|')) return first
    const second = this.#alternatives()
    const end = first.length + second.length + 2
    return this.#counted([
      { op: 'split', first: 1, second: first.length + 2 },
      ...shifted(first, 1),
      { op: 'jump', to: end },
      ...shifted(second, first.length + 2),
    ])
  }

  #sequence(): Instruction[] {
    const all: Instruction[] = []
    while (this.#at < this.#source.length && this.#peek() !== '|' && this.#peek() !== ')') {
      all.push(...shifted(this.#repeated(this.#atom()), all.length))
    }
    return all
  }

  #repeated(atom: Instruction[]): Instruction[] {
    const range = this.#range()
    if (range === null) return atom
    // A lazy repetition finds the same matches; which of them comes first is no question here.
    this.#take('?')
    if ('*+?{'.includes(this.#peek() || ' ')) throw this.#wrong('a repetition of a repetition')
    const [least, most] = range
    const all: Instruction[] = []
    const append = (part: Instruction[]): void => {
      all.push(...this.#counted(shifted(part, all.length)))
    }
    for (let i = 0; i < least; i++) append(atom)
    if (most === null) {
      append([{ op: 'split', first: 1, second: atom.length + 2 }, ...shifted(atom, 1), { op: 'jump', to: 0 }])
    } else {
      for (let i = least; i < most; i++)
        append([{ op: 'split', first: 1, second: atom.length + 1 }, ...shifted(atom, 1)])
    }
    return all
  }

  /** [least, most] of what follows an atom; null when nothing does. */
  #range(): [least: number, most: number | null] | null {
    if (this.#take('*')) return [0, null]
    if (this.#take('+')) return [1, null]
    if (this.#take('?')) return [0, 1]
    if (!this.#take('{')) return null
    const rest = /^(\d{1,4})(,(\d{0,4}))?\}/.exec(this.#source.slice(this.#at))
    if (rest === null) throw this.#wrong('a "{" that is no repetition')
    this.#at += rest[0].length
    const least = Number(rest[1])
    const most = rest[2] === undefined ? least : rest[3] === '' ? null : Number(rest[3])
    if (most !== null && most < least) throw this.#wrong('a repetition from more to less')
    return [least, most]
  }

  #atom(): Instruction[] {
    const char = this.#next()
    switch (char) {
      case '(':
        return this.#group()
      case '[':
        return this.#counted([{ op: 'char', accepts: this.#set() }])
      case '.':
        return this.#counted([{ op: 'char', accepts: inverted(codes('\n')) }])
      case '^':
        return this.#counted([{ op: 'at', place: 'start' }])
      case '$':
        return this.#counted([{ op: 'at', place: 'end' }])
      case '\\':
        if (this.#take('A')) return this.#counted([{ op: 'at', place: 'start' }])
        if (this.#take('Z')) return this.#counted([{ op: 'at', place: 'end' }])
        return this.#counted([{ op: 'char', accepts: this.#escaped() }])
      case '*':
      case '+':
      case '?':
      case '{':
        throw this.#wrong(`nothing before "${char}"`)
      default:
        return this.#counted([{ op: 'char', accepts: codes(char) }])
    }
  }

  #group(): Instruction[] {
    let look: boolean | null = null
    if (this.#take('?')) {
      if (this.#take('=')) look = false
      else if (this.#take('!')) look = true
      else if (this.#take('P<')) while (this.#next() !== '>');
      else if (!this.#take(':')) throw this.#wrong(`"(?${this.#peek()}"`)
    }
    this.#depth += 1
    if (this.#depth > GROUP_DEPTH_MAX) throw this.#wrong('groups too deep')
    const inside = this.#alternatives()
    this.#depth -= 1
    if (!this.#take(')')) throw this.#wrong('unbalanced "("')
    if (look === null) return inside
    return this.#counted([{ op: 'look', isNegative: look, machine: new PatternMachine(inside) }])
  }

  #set(): Uint8Array {
    const isNegative = this.#take('^')
    const accepts = new Uint8Array(CODES)
    for (let isFirst = true; isFirst || this.#peek() !== ']'; isFirst = false) {
      const char = this.#next()
      const part = char === '\\' ? this.#escaped() : codes(char)
      const low = single(part)
      if (low !== null && this.#peek() === '-' && this.#source[this.#at + 1] !== ']') {
        this.#at += 1
        const end = this.#next()
        const high = single(end === '\\' ? this.#escaped() : codes(end))
        if (high === null || high < low) throw this.#wrong('a range that is none')
        accepts.fill(1, low, high + 1)
      } else part.forEach((accept, code) => (accepts[code] ||= accept))
    }
    this.#at += 1
    return isNegative ? inverted(accepts) : accepts
  }

  #escaped(): Uint8Array {
    const char = this.#next()
    const known = CLASSES[char]
    if (known !== undefined) return known
    if (/[A-Za-z0-9]/.test(char)) throw this.#wrong(`"\\${char}"`)
    return codes(char)
  }

  #counted(part: Instruction[]): Instruction[] {
    this.#written += part.length
    if (this.#written > WRITTEN_MAX) throw this.#wrong('too many repetitions')
    return part
  }

  #peek(): string {
    return this.#source[this.#at] ?? ''
  }

  #next(): string {
    const char = this.#source[this.#at]
    if (char === undefined) throw this.#wrong('it ends too early')
    this.#at += 1
    return char
  }

  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #wrong(problem: string): SyntaxError {
    return new SyntaxError(`${problem} at ${this.#at}`)
  }
}

/** The same code, to stand `by` instructions later. */
function shifted(machine: readonly Instruction[], by: number): Instruction[] {
  return machine.map((instruction) => {
    if (instruction.op === 'jump') return { op: 'jump', to: instruction.to + by }
    if (instruction.op !== 'split') return instruction
    return { op: 'split', first: instruction.first + by, second: instruction.second + by }
  })
}

function codes(characters: string): Uint8Array {
  const accepts = new Uint8Array(CODES)
  for (const char of characters) {
    const code = char.charCodeAt(0)
    if (code < CODES) accepts[code] = 1
  }
  return accepts
}

function inverted(accepts: Uint8Array): Uint8Array {
  return accepts.map((accept) => 1 - accept)
}

/** The one code it accepts, or null. */
function single(accepts: Uint8Array): number | null {
  const first = accepts.indexOf(1)
  return first >= 0 && accepts.indexOf(1, first + 1) < 0 ? first : null
}

const DIGITS = '0123456789'
const WORDS = `${DIGITS}ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_`
const SPACES = ' \t\n\r\f\v'
const CLASSES: Readonly<Record<string, Uint8Array>> = {
  d: codes(DIGITS),
  D: inverted(codes(DIGITS)),
  w: codes(WORDS),
  W: inverted(codes(WORDS)),
  s: codes(SPACES),
  S: inverted(codes(SPACES)),
}
