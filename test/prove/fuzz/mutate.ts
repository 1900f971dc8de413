/**
 * A case made real: the bytes of one file of a pristine folder, changed as the case says. Pure.
 *
 * It knows the two shapes a file can have — text, or a length, JSON and data — and nothing of what they mean.
 */
import type { Change } from './cases.ts'
import { applyEdit, textOf, treeOf } from './json-tree.ts'

/** Bytes of the file to write; changes of its place in the folder are the caller's. */
export function mutated(file: string, bytes: Uint8Array, change: Change): Uint8Array {
  const { prefix, text, rest } = partsOf(file, bytes)
  switch (change.kind) {
    case 'tree': {
      if (!isJson(file)) return bytes
      const tree = treeOf(JSON.parse(text))
      for (const edit of change.edits) applyEdit(tree, edit)
      return joined(prefix, textOf(tree), rest)
    }
    case 'cut': {
      let changed = text
      for (const { at, removed, added } of change.edits) {
        const start = Math.floor(at * changed.length)
        changed = changed.slice(0, start) + added + changed.slice(start + removed)
      }
      return joined(prefix, changed, rest)
    }
    case 'header-length': {
      const copy = bytes.slice()
      new DataView(copy.buffer).setBigUint64(0, BigInt(change.length), true)
      return copy
    }
    case 'size': {
      const copy = new Uint8Array(Math.floor(bytes.length * change.share) + change.added)
      copy.set(bytes.subarray(0, copy.length))
      return copy
    }
    case 'bytes': {
      const copy = bytes.slice()
      const end = prefix.length + Buffer.byteLength(text)
      for (const { at, byte } of change.edits) copy[Math.floor(at * (end - 1))] = byte
      return copy
    }
    case 'place':
      return bytes
    default:
      return change satisfies never
  }
}

function isJson(file: string): boolean {
  return /\.(json|safetensors)$/.test(file)
}

interface Parts {
  readonly prefix: Uint8Array
  readonly text: string
  readonly rest: Uint8Array
}

function partsOf(file: string, bytes: Uint8Array): Parts {
  const none = new Uint8Array(0)
  if (!file.endsWith('.safetensors')) return { prefix: none, text: new TextDecoder().decode(bytes), rest: none }
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  return {
    prefix: bytes.subarray(0, 8),
    text: new TextDecoder().decode(bytes.subarray(8, 8 + length)),
    rest: bytes.subarray(8 + length),
  }
}

/** With a prefix: the length of the text, made anew. */
function joined(prefix: Uint8Array, text: string, rest: Uint8Array): Uint8Array {
  const json = new TextEncoder().encode(text)
  const bytes = new Uint8Array(prefix.length + json.length + rest.length)
  if (prefix.length > 0) new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true)
  bytes.set(json, prefix.length)
  bytes.set(rest, prefix.length + json.length)
  return bytes
}
