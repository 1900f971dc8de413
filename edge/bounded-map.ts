/**
 * Puts an entry behind all others and lets the oldest go that are too many: a memory that cannot grow with its clients.
 *
 * A Map keeps the order of insertion. It knows nothing of what is kept.
 */
export function putBounded<Key, Value>(map: Map<Key, Value>, key: Key, value: Value, entriesMax: number): void {
  map.delete(key)
  map.set(key, value)
  for (const oldest of map.keys()) {
    if (map.size <= entriesMax) break
    map.delete(oldest)
  }
}
