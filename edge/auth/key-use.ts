/**
 * What D1 is told of a key behind the answer to its request: that it was used, and its digest under the current pepper.
 *
 * An isolate tells it at most once a minute for a key. A failure is logged and costs nobody anything. It knows no
 * request.
 */
import { putBounded } from '../bounded-map.ts'
import { logError } from '../log.ts'
import { within } from '../within.ts'
import type { KeyDigest } from './digest.ts'
import { lastUsedEachMs, type KeyDatabase, type StoredKey } from './stored-key.ts'

const keysMax = 4_096
/** Nobody waits for it. */
const writeDeadlineMs = 10_000

export class KeyUses {
  /** When the next use of a key is told, by its id; oldest first. */
  readonly #tellAtMs = new Map<string, number>()

  /** @returns null when there is nothing to tell; the promise never rejects. */
  tell(key: StoredKey, digests: readonly KeyDigest[], database: KeyDatabase, nowMs: number): Promise<void> | null {
    if (nowMs < (this.#tellAtMs.get(key.id) ?? 0)) return null
    putBounded(this.#tellAtMs, key.id, nowMs + lastUsedEachMs, keysMax)
    return tellDatabase(key, digests, database, nowMs)
  }
}

async function tellDatabase(
  key: StoredKey,
  [current, previous]: readonly KeyDigest[],
  database: KeyDatabase,
  nowMs: number,
): Promise<void> {
  const isOfPrevious = previous !== undefined && key.pepperId === previous.pepperId
  const tell = async () => {
    await database.noteUse(key.id, nowMs)
    if (isOfPrevious && current !== undefined) await database.renewDigest(key.id, previous, current)
  }
  try {
    if ((await within(tell(), writeDeadlineMs)) === null) throw new Error(`D1 gave no answer in ${writeDeadlineMs} ms`)
  } catch (error) {
    logError('key-use-not-noted', error, { keyId: key.id })
  }
}
