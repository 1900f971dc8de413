/**
 * How a command with actions reads its arguments: `axle <command> <action> OPERANDS --options`, help, one way to fail.
 *
 * It opens the Admin API for the action and knows none of them.
 */
import { parseArgs } from 'node:util'
import { type AdminApi, openAdminApi } from '../admin-api.ts'
import { reportFailure } from '../report-failure.ts'

export interface Action {
  /** As the help names them; all are needed. */
  readonly operands: readonly string[]
  /** Names of options with a value. */
  readonly options?: readonly string[]
  readonly flags?: readonly string[]
  readonly run: (call: Call) => Promise<void>
}

type Values = Readonly<Record<string, string | boolean | undefined>>

export class Call {
  readonly api: AdminApi
  readonly #operands: readonly string[]
  readonly #values: Values

  constructor(api: AdminApi, operands: readonly string[], values: Values) {
    this.api = api
    this.#operands = operands
    this.#values = values
  }

  operand(index: number): string {
    return this.#operands[index] ?? ''
  }

  option(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === 'string' ? value : undefined
  }

  has(flag: string): boolean {
    return this.#values[flag] === true
  }

  /** What programs read with `--json`, what people read without; both on stdout. */
  tell(value: unknown, text: string): void {
    console.log(this.has('json') ? JSON.stringify(value, null, 2) : text)
  }

  /** The one word that a script goes on with alone on stdout, what people want to know besides on stderr. */
  hand(value: unknown, word: string, text: string): void {
    this.tell(value, word)
    if (!this.has('json')) console.error(text)
  }
}

/** Prints what went wrong on stderr and sets exit code 1. */
export async function runAction(
  args: readonly string[],
  help: string,
  actions: Readonly<Record<string, Action>>,
): Promise<void> {
  try {
    const [name, ...rest] = args
    if (name === undefined || ['--help', '-h', 'help'].includes(name) || rest.includes('--help')) {
      console.log(help)
      return
    }
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined
    if (action === undefined) throw new TypeError(`No such action: ${name}\n\n${help}`)
    await action.run(readCall(name, action, rest))
  } catch (error) {
    reportFailure(error)
  }
}

/** @throws TypeError where operands or options are not the action's. */
function readCall(name: string, { operands, options = [], flags = [] }: Action, args: string[]): Call {
  const described = {
    ...Object.fromEntries(options.map((option) => [option, { type: 'string' as const }])),
    ...Object.fromEntries([...flags, 'json'].map((flag) => [flag, { type: 'boolean' as const }])),
  }
  const { values, positionals } = parseArgs({ args, options: described, strict: true, allowPositionals: true })
  if (positionals.length !== operands.length || positionals.includes('')) {
    const expected = operands.length === 0 ? 'nothing' : operands.join(' ')
    throw new TypeError(`${name}: expected ${expected}, got ${positionals.join(' ') || 'nothing'}`)
  }
  return new Call(openAdminApi(process.env), positionals, values)
}
