/**
 * Byte-pair encoding of one piece of text: its bytes, merged by rank, leftmost first, until no merge is left.
 *
 * The same ids as Hugging Face's tokenizers. It knows bytes, ids and merges; not files, patterns or control tokens.
 */
import assert from 'node:assert/strict'

export interface Merge {
  readonly left: number
  readonly right: number
  readonly merged: number
}

/** Ids are below this, so that two of them make one exact number. */
export const TOKEN_ID_END = 1 << 24
/** Pieces of a text repeat: short ones are remembered, until there are this many. */
const REMEMBERED_MAX = 20_000
const REMEMBERED_LENGTH_MAX = 32
/** A heap entry is rank · 2²⁴ + position; a longer piece would not fit. */
const PIECE_BYTES_MAX = 1 << 24

assert(TOKEN_ID_END * PIECE_BYTES_MAX <= Number.MAX_SAFE_INTEGER, 'a rank and a position make one exact number')

export class BytePairs {
  readonly #byteIds: Int32Array
  readonly #ranks: PairRanks
  readonly #wholes: ReadonlyMap<string, number>
  readonly #remembered = new Map<string, number[]>()

  /**
   * @param byteIds i32 [256]: the token of each byte.
   * @param merges in order of rank.
   * @param wholes pieces that are one token whatever the merges say, one character a byte (latin1).
   */
  constructor(byteIds: Int32Array, merges: readonly Merge[], wholes: ReadonlyMap<string, number>) {
    this.#byteIds = byteIds
    this.#ranks = new PairRanks(merges)
    this.#wholes = wholes
  }

  /** Appends the ids of a piece of well-formed text to `ids`. */
  encode(piece: string, ids: number[]): void {
    if (piece.length > REMEMBERED_LENGTH_MAX) return this.#merge(Buffer.from(piece), ids)
    let encoded = this.#remembered.get(piece)
    if (encoded === undefined) {
      encoded = []
      this.#merge(Buffer.from(piece), encoded)
      if (this.#remembered.size >= REMEMBERED_MAX) this.#remembered.clear()
      this.#remembered.set(piece, encoded)
    }
    for (const id of encoded) ids.push(id)
  }

  #merge(bytes: Buffer, result: number[]): void {
    const whole = this.#wholes.size > 0 ? this.#wholes.get(bytes.toString('latin1')) : undefined
    if (whole !== undefined) {
      result.push(whole)
      return
    }
    const { length } = bytes
    assert(length <= PIECE_BYTES_MAX, 'a piece of text is longer than a request may be')
    // A list of ids linked by position: a merge takes the left one's place and unlinks the right one.
    const ids = new Int32Array(length)
    const next = new Int32Array(length)
    const previous = new Int32Array(length)
    for (let at = 0; at < length; at++) {
      ids[at] = this.#byteIds[bytes[at] ?? 0] ?? GONE
      next[at] = at + 1
      previous[at] = at - 1
    }
    const heap: number[] = []
    const offer = (at: number): void => {
      const rank = this.#rankAt(ids, next, at)
      if (rank !== GONE) pushHeap(heap, rank * PIECE_BYTES_MAX + at)
    }
    for (let at = 0; at + 1 < length; at++) offer(at)
    for (let entry = popHeap(heap); entry !== undefined; entry = popHeap(heap)) {
      const at = entry % PIECE_BYTES_MAX
      const rank = (entry - at) / PIECE_BYTES_MAX
      // Overtaken by another merge of either token: the pair that stands here now has an entry of its own.
      if (this.#rankAt(ids, next, at) !== rank) continue
      const right = next[at] ?? length
      const after = next[right] ?? length
      ids[at] = this.#ranks.mergedId(rank)
      ids[right] = GONE
      next[at] = after
      if (after < length) previous[after] = at
      const before = previous[at] ?? GONE
      if (before >= 0) offer(before)
      offer(at)
    }
    for (const id of ids) if (id !== GONE) result.push(id)
  }

  /** Of the token at a position and the one after it. */
  #rankAt(ids: Int32Array, next: Int32Array, at: number): number {
    const left = ids[at] ?? GONE
    const right = ids[next[at] ?? ids.length] ?? GONE
    return left === GONE || right === GONE ? GONE : this.#ranks.rankOf(left, right)
  }
}

const GONE = -1

/** (left, right) → rank, by open addressing in typed arrays: in a Map, the keys alone would be 16 bytes of heap each. */
class PairRanks {
  readonly #merges: readonly Merge[]
  /** i32 [a power of two above twice the merges]: a rank, or −1 where nothing is. */
  readonly #slots: Int32Array
  readonly #lefts: Int32Array
  readonly #rights: Int32Array

  constructor(merges: readonly Merge[]) {
    this.#merges = merges
    this.#lefts = Int32Array.from(merges, (merge) => merge.left)
    this.#rights = Int32Array.from(merges, (merge) => merge.right)
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * merges.length + 1))).fill(GONE)
    // Of two equal pairs the reference keeps the last rank.
    for (const [rank, { left, right }] of merges.entries()) this.#slots[this.#slotOf(left, right)] = rank
  }

  rankOf(left: number, right: number): number {
    return this.#slots[this.#slotOf(left, right)] ?? GONE
  }

  mergedId(rank: number): number {
    return this.#merges[rank]?.merged ?? GONE
  }

  /** Where the pair stands, or the empty slot that it would take. */
  #slotOf(left: number, right: number): number {
    const mask = this.#slots.length - 1
    // Two odd numbers near 2³² / φ and 2³² / √5 spread neighbours apart.
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x7252a3ab)) >>> 0
    for (slot = (slot ^ (slot >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      const rank = this.#slots[slot] ?? GONE
      if (rank === GONE || (this.#lefts[rank] === left && this.#rights[rank] === right)) return slot
    }
  }
}

/** A binary heap of numbers, the lowest first. */
function pushHeap(heap: number[], value: number): void {
  let at = heap.length
  heap.push(value)
  while (at > 0) {
    const parentAt = (at - 1) >> 1
    const parent = heap[parentAt] ?? -Infinity
    if (parent <= value) break
    heap[at] = parent
    at = parentAt
  }
  heap[at] = value
}

function popHeap(heap: number[]): number | undefined {
  const lowest = heap[0]
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return lowest
  let at = 0
  for (;;) {
    let childAt = 2 * at + 1
    if ((heap[childAt + 1] ?? Infinity) < (heap[childAt] ?? Infinity)) childAt += 1
    const child = heap[childAt] ?? Infinity
    if (child >= last) break
    heap[at] = child
    at = childAt
  }
  heap[at] = last
  return lowest
}
