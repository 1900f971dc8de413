/**
 * A pattern as a small machine (Thompson's): all its states walk the text together, so that the time is linear in the
 * text's length whatever the pattern, and every step is taken from a budget.
 *
 * It knows no syntax: `module-pattern.ts` writes the instructions. Text is ASCII: any other character matches nothing.
 */

export const CODES = 128

export type Instruction =
  /** Reads one character whose code `accepts` has as 1. */
  | { readonly op: 'char'; readonly accepts: Uint8Array }
  | { readonly op: 'split'; readonly first: number; readonly second: number }
  | { readonly op: 'jump'; readonly to: number }
  | { readonly op: 'at'; readonly place: 'start' | 'end' }
  /** Goes on where the machine matches from here on, or where it does not; reads nothing. */
  | { readonly op: 'look'; readonly isNegative: boolean; readonly machine: PatternMachine }

/** Steps that all patterns of one config may take together. */
export interface StepBudget {
  left: number
}

export class PatternMachine {
  /** Instructions, those of machines within included. */
  readonly size: number
  /** The end of the code is the match. */
  readonly #code: readonly Instruction[]
  /** For each instruction, the closure that saw it last. */
  readonly #seenBy: Uint32Array
  #closure = 0

  constructor(code: readonly Instruction[]) {
    this.#code = code
    this.#seenBy = new Uint32Array(code.length + 1)
    this.size = code.reduce((sum, instruction) => sum + (instruction.op === 'look' ? instruction.machine.size : 1), 0)
  }

  /** Whether it matches some of `text` from `start` on. Throws RangeError when the budget is spent. */
  matches(text: string, start: number, budget: StepBudget): boolean {
    let first = 0
    let at = start
    // Most patterns begin with a stretch of plain characters, and most names end the matter there.
    for (let head = this.#code[0]; head?.op === 'char'; head = this.#code[first]) {
      spend(budget)
      if (!accepted(head.accepts, text, at)) return false
      at += 1
      first += 1
    }
    let states = [first]
    for (; states.length > 0; at++) {
      const readers: number[] = []
      if (this.#reaches(states, text, at, budget, readers)) return true
      states = readers
    }
    return false
  }

  /** Whether the match is reached without reading; otherwise collects in `next` the states after reading one character. */
  #reaches(states: number[], text: string, at: number, budget: StepBudget, next: number[]): boolean {
    this.#closure += 1
    const pending = states
    for (let state = pending.pop(); state !== undefined; state = pending.pop()) {
      if (state === this.#code.length) return true
      if (this.#seenBy[state] === this.#closure) continue
      this.#seenBy[state] = this.#closure
      spend(budget)
      const instruction = this.#code[state]
      switch (instruction?.op) {
        case 'char':
          if (accepted(instruction.accepts, text, at)) next.push(state + 1)
          break
        case 'split':
          pending.push(instruction.first, instruction.second)
          break
        case 'jump':
          pending.push(instruction.to)
          break
        case 'at':
          if (at === (instruction.place === 'start' ? 0 : text.length)) pending.push(state + 1)
          break
        case 'look':
          if (instruction.machine.matches(text, at, budget) !== instruction.isNegative) pending.push(state + 1)
          break
        case undefined:
          throw new RangeError(`No instruction ${state}`)
        default:
          instruction satisfies never
      }
    }
    return false
  }
}

function accepted(accepts: Uint8Array, text: string, at: number): boolean {
  return at < text.length && accepts[text.charCodeAt(at)] === 1
}

/** Throws RangeError when nothing is left. */
export function spend(budget: StepBudget, steps = 1): void {
  budget.left -= steps
  if (budget.left < 0) throw new RangeError('the patterns take too many steps')
}
