/**
 * The Jinja library's interpreter with an end: bounds of steps, time, and of what values weigh, kept at every node.
 *
 * It does not know where templates or their variables come from.
 */
import { Environment, Interpreter } from '@huggingface/jinja'
import { checkOperation, checkSearch, weighedFilters, weighedMethods } from './jinja-operations.ts'
import { BoundError, isJinjaValue, Weights, type JinjaValue } from './jinja-weight.ts'

const STEPS_MAX = 1_000_000
/** Characters of all texts and lists that calls, filters and slices make, eight an entry. */
const MADE_MAX = 64 << 20
const PER_ENTRY_CHARACTERS = 8
/** Nodes whose value is new and not only a rope of what was there. */
const making: ReadonlySet<string> = new Set(['CallExpression', 'FilterExpression', 'MemberExpression'])

export interface JinjaVariables {
  set(name: string, value: unknown): unknown
}

/** A node of a parsed template; what it has besides depends on its type. */
interface JinjaNode {
  readonly type: string
  readonly [field: string]: unknown
}

interface LibraryInterpreter {
  run(program: object): JinjaValue
  evaluate(node: unknown, variables: unknown): JinjaValue
}

// Stated here because the library's own declarations do not resolve under Node's module rules.
export const JinjaEnvironment = Environment as new () => JinjaVariables
const Library = Interpreter as new (variables: JinjaVariables) => LibraryInterpreter

export class BoundedInterpreter extends Library {
  readonly #weights = new Weights()
  readonly #msMax: number
  readonly #deadlineMs: number
  #steps = 0
  #made = 0

  constructor(variables: JinjaVariables, msMax: number) {
    super(variables)
    this.#msMax = msMax
    this.#deadlineMs = performance.now() + msMax
  }

  override evaluate(node: unknown, variables: unknown): JinjaValue {
    if (!isNode(node)) return super.evaluate(node, variables)
    if (node.type === GIVEN && isJinjaValue(node['given'])) return node['given']
    this.#steps += 1
    if (this.#steps > STEPS_MAX) throw new BoundError(`it takes more than ${STEPS_MAX} steps`)
    if (performance.now() > this.#deadlineMs) throw new BoundError(`it takes longer than ${this.#msMax} ms`)
    const result = super.evaluate(this.#weighed(node, variables), variables)
    this.#count(node, result)
    return result
  }

  #count(node: JinjaNode, result: JinjaValue): void {
    const { value } = result
    const isNew = !this.#weights.isKnown(result)
    this.#weights.of(result)
    if (typeof value === 'string' && making.has(node.type)) this.#made += value.length
    if (Array.isArray(value) && isNew) this.#made += value.length * PER_ENTRY_CHARACTERS
    if (this.#made > MADE_MAX) throw new BoundError(`it makes more than ${MADE_MAX} characters on the way`)
    const isLoose = node.type === 'MemberExpression' && result.type === 'FunctionValue' && node['isCalled'] !== true
    if (isLoose && weighedMethods.has(nameOf(node) ?? 'replace')) throw new BoundError('it takes a method as a value')
  }

  /** The node, or the same with operands that are evaluated already and were found to be light enough. */
  #weighed(node: JinjaNode, variables: unknown): JinjaNode {
    const given = (operand: unknown): JinjaNode => ({ type: GIVEN, given: this.evaluate(operand, variables) })
    switch (node.type) {
      case 'BinaryExpression': {
        const { operator } = node
        const isSearch = isNode(operator) && (operator['value'] === 'in' || operator['value'] === 'not in')
        if (!isSearch) return node
        const [left, right] = [given(node['left']), given(node['right'])]
        const [sought, text] = [valueOf(left), valueOf(right)]
        if (typeof sought === 'string' && typeof text === 'string') checkSearch(text, sought)
        return { ...node, left, right }
      }
      case 'FilterStatement':
        // The same filter over the block's text.
        return this.#weighed({ ...node, type: 'FilterExpression', operand: { ...node, type: 'Program' } }, variables)
      case 'FilterExpression': {
        const { filter } = node
        if (!isNode(filter) || filter.type !== 'CallExpression' || !isNode(filter['callee'])) return node
        const name = filter['callee']['value']
        if (typeof name !== 'string' || !weighedFilters.has(name)) return node
        const operand = given(node['operand'])
        return { ...node, operand, filter: this.#weighedCall(filter, name, operand, given) }
      }
      case 'CallExpression': {
        const { callee } = node
        if (!isNode(callee) || callee.type !== 'MemberExpression') return node
        const property = callee['computed'] === true ? given(callee['property']) : callee['property']
        const name = isNode(property) ? (property['value'] ?? valueOf(property)) : undefined
        if (typeof name !== 'string' || !weighedMethods.has(name)) return { ...node, callee: { ...callee, property } }
        const object = given(callee['object'])
        const call = this.#weighedCall(node, name, object, given)
        return { ...call, callee: { ...callee, property, object, isCalled: true } }
      }
      default:
        return node
    }
  }

  #weighedCall(call: JinjaNode, name: string, operand: JinjaNode, given: (node: unknown) => JinjaNode): JinjaNode {
    const args: JinjaValue[] = []
    const keywords = new Map<string, JinjaValue>()
    const weighed: JinjaNode[] = []
    for (const node of Array.isArray(call['args']) ? call['args'].filter(isNode) : []) {
      if (node.type === 'SpreadExpression' || node.type === 'KeywordSpreadExpression') {
        throw new BoundError(`it spreads the arguments of ${name}`)
      }
      const isKeyword = node.type === 'KeywordArgumentExpression'
      const value = given(isKeyword ? node['value'] : node)
      weighed.push(isKeyword ? { ...node, value } : value)
      if (!isJinjaValue(value['given'])) continue
      if (!isKeyword) args.push(value['given'])
      else if (isNode(node['key'])) keywords.set(String(node['key']['value']), value['given'])
    }
    if (isJinjaValue(operand['given'])) {
      checkOperation({ name, operand: operand['given'], args, keywords }, this.#weights)
    }
    return { ...call, args: weighed }
  }
}

/** The type of a node that stands for a value. */
const GIVEN = 'Given'

function isNode(value: unknown): value is JinjaNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

function valueOf(node: JinjaNode): unknown {
  return isJinjaValue(node['given']) ? node['given'].value : undefined
}

/** Of a member, where the template spells it. */
function nameOf({ computed, property }: JinjaNode): string | null {
  if (!isNode(property) || typeof property['value'] !== 'string') return null
  return computed === true && property.type !== 'StringLiteral' ? null : property['value']
}
