/**
 * JSON as a tree that can be broken: objects keep their order and may name a key twice, and any text may stand as a value.
 *
 * It knows nothing of checkpoints.
 */

export type JsonTree =
  | { kind: 'object'; entries: [key: string, value: JsonTree][] }
  | { kind: 'array'; items: JsonTree[] }
  /** JSON text of a scalar, or what stands in its place. */
  | { kind: 'text'; text: string }

/** Of valid JSON. */
export function treeOf(value: unknown): JsonTree {
  if (Array.isArray(value)) return { kind: 'array', items: value.map((item) => treeOf(item)) }
  if (typeof value === 'object' && value !== null) {
    return { kind: 'object', entries: Object.entries(value).map(([key, child]) => [key, treeOf(child)]) }
  }
  return { kind: 'text', text: JSON.stringify(value) }
}

export function textOf(tree: JsonTree): string {
  if (tree.kind === 'text') return tree.text
  if (tree.kind === 'array') return `[${tree.items.map((item) => textOf(item)).join(',')}]`
  return `{${tree.entries.map(([key, value]) => `${JSON.stringify(key)}:${textOf(value)}`).join(',')}}`
}

const NESTING = 50_000

/** JSON text too long for a case that people read: its name stands for it. */
export const longTexts: ReadonlyMap<string, string> = new Map([
  ['a long string', JSON.stringify('x'.repeat(100_000))],
  ['nested lists', '['.repeat(NESTING) + ']'.repeat(NESTING)],
  ['nested objects', `${'{"a":'.repeat(NESTING)}1${'}'.repeat(NESTING)}`],
])

function scalar(text: string): JsonTree {
  return { kind: 'text', text: longTexts.get(text) ?? text }
}

/** One change at the place that `path` leads to: each number picks a child, modulo how many there are. */
export interface TreeEdit {
  readonly path: readonly number[]
  readonly change:
    | { readonly kind: 'replace'; readonly text: string }
    | { readonly kind: 'delete' }
    | { readonly kind: 'duplicate' }
    | { readonly kind: 'rename'; readonly key: string }
    | { readonly kind: 'insert'; readonly key: string; readonly text: string }
    /** A number plus, or times. */
    | { readonly kind: 'nudge'; readonly by: number; readonly times: number }
    /** The place of a sibling. */
    | { readonly kind: 'swap'; readonly with: number }
}

/** Changes `tree` in place, and does nothing where the change has no place: the root, a scalar's child. */
export function applyEdit(tree: JsonTree, { path, change }: TreeEdit): void {
  let parent: JsonTree | null = null
  let index = 0
  let node: JsonTree = tree
  for (const step of path) {
    const count = childCount(node)
    if (count === 0) break
    parent = node
    index = step % count
    node = childOf(node, index)
  }
  if (parent === null || parent.kind === 'text') return
  const children: unknown[] = parent.kind === 'array' ? parent.items : parent.entries
  switch (change.kind) {
    case 'replace':
      setChild(parent, index, scalar(change.text))
      break
    case 'delete':
      children.splice(index, 1)
      break
    case 'duplicate':
      children.splice(index, 0, children[index])
      break
    case 'rename':
      if (parent.kind === 'object') parent.entries[index] = [change.key, node]
      break
    case 'insert':
      if (parent.kind === 'object') parent.entries.splice(index, 0, [change.key, scalar(change.text)])
      else parent.items.splice(index, 0, scalar(change.text))
      break
    case 'nudge':
      if (node.kind === 'text' && /^-?\d/.test(node.text)) {
        const number = Number(node.text) * change.times + change.by
        setChild(parent, index, { kind: 'text', text: String(number) })
      }
      break
    case 'swap': {
      const other = change.with % children.length
      const [a, b] = [childOf(parent, index), childOf(parent, other)]
      setChild(parent, index, b)
      setChild(parent, other, a)
      break
    }
    default:
      change satisfies never
  }
}

function childCount(tree: JsonTree): number {
  if (tree.kind === 'text') return 0
  return tree.kind === 'array' ? tree.items.length : tree.entries.length
}

function childOf(tree: JsonTree, index: number): JsonTree {
  const child =
    tree.kind === 'array' ? tree.items[index] : tree.kind === 'object' ? tree.entries[index]?.[1] : undefined
  if (child === undefined) throw new RangeError(`There is no child ${index}`)
  return child
}

function setChild(tree: JsonTree, index: number, value: JsonTree): void {
  if (tree.kind === 'array') tree.items[index] = value
  else if (tree.kind === 'object') {
    const entry = tree.entries[index]
    if (entry !== undefined) entry[1] = value
  }
}
