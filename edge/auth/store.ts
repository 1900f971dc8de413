/**
 * Who a key belongs to and what it may do, from D1, through the memory of the isolate.
 *
 *     fresh (4 s)      answered from memory, nobody is asked
 *     older            D1 is asked
 *     D1 away          a known key, up to an hour: Redis says that it is not revoked, and it is fresh again
 *                      any other: nobody can tell
 *
 * So a revocation is seen in time whatever is away, and D1's load is bounded. It never sees a key, only digests.
 */
import { AppError } from '../../contract/errors.ts'
import { keyFreshMs, keyStaleMaxMs } from '../../contract/limits.ts'
import { putBounded } from '../bounded-map.ts'
import { answerOf, lookupDeadlineMs } from '../d1/answer.ts'
import { logError } from '../log.ts'
import { within } from '../within.ts'
import type { KeyDigest } from './digest.ts'
import { readKey, type KeyDatabase, type StoredKey } from './stored-key.ts'

/** Known keys have a room of their own: who tries keys cannot push them out. */
const knownKeysMax = 4_096
const unknownKeysMax = 1_024
const revocationDeadlineMs = 1_500
/** After a failure D1 is left alone for this long; then one request asks, not all. */
const restMs = 1_000

export type KeyRows = Pick<KeyDatabase, 'keyRow'>

export interface KeySource {
  readonly database: KeyRows
  /** Of key and tenant ids. Throws when Redis does not say. */
  readonly isRevoked: (ids: readonly string[]) => Promise<boolean>
}

interface Known {
  readonly key: StoredKey
  readonly freshUntilMs: number
  /** When D1 last told it. */
  readonly readAtMs: number
}

export class KeyStore {
  readonly #now: () => number
  /** By the digest under the current pepper, as is the other. Least recently read first. */
  readonly #known = new Map<string, Known>()
  /** Until when a digest counts as nobody's. */
  readonly #unknown = new Map<string, number>()
  #askAgainAtMs = 0
  #isDatabaseAway = false

  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether D1 once told of it, however long ago. */
  knows(digest: string): boolean {
    return this.#known.has(digest)
  }

  /**
   * @param digests of one key, under the current pepper first
   * @returns null when it is nobody's.
   * @throws AppError auth_unavailable when that cannot be told.
   */
  async find(digests: readonly [KeyDigest, ...KeyDigest[]], source: KeySource): Promise<StoredKey | null> {
    const askedAtMs = this.#now()
    const [{ digest }] = digests
    const known = this.#known.get(digest)
    if (known !== undefined && askedAtMs < known.freshUntilMs) return known.key
    if (askedAtMs < (this.#unknown.get(digest) ?? 0)) return null

    const row = await this.#ask(digests, source.database)
    if (row === undefined) return this.#findWithoutDatabase(digest, known, source)
    // What was read may have changed since it was asked for, not before.
    const freshUntilMs = askedAtMs + keyFreshMs
    const key = row === null ? null : readKey(row)
    if (key === null) {
      this.#known.delete(digest)
      putBounded(this.#unknown, digest, freshUntilMs, unknownKeysMax)
    } else {
      this.#unknown.delete(digest)
      putBounded(this.#known, digest, { key, freshUntilMs, readAtMs: askedAtMs }, knownKeysMax)
    }
    return key
  }

  /** @returns the row, null where there is none, undefined when D1 does not say. */
  async #ask(digests: readonly KeyDigest[], database: KeyRows): Promise<unknown> {
    if (this.#now() < this.#askAgainAtMs) return undefined
    if (this.#isDatabaseAway) this.#askAgainAtMs = this.#now() + restMs
    try {
      const { row } = await answerOf(database.keyRow(digests), lookupDeadlineMs)
      this.#isDatabaseAway = false
      this.#askAgainAtMs = 0
      return row
    } catch (error) {
      if (!this.#isDatabaseAway) logError('key-lookup-failed', error)
      this.#isDatabaseAway = true
      this.#askAgainAtMs = this.#now() + restMs
      return undefined
    }
  }

  async #findWithoutDatabase(digest: string, known: Known | undefined, source: KeySource): Promise<StoredKey> {
    const askedAtMs = this.#now()
    if (known === undefined || askedAtMs - known.readAtMs > keyStaleMaxMs) throw unavailable(null)
    const { key } = known
    const ids = key.tenant === null ? [key.id] : [key.id, key.tenant.id]
    const isRevoked = await within(source.isRevoked(ids), revocationDeadlineMs).catch((cause: unknown) => {
      throw unavailable(cause)
    })
    if (isRevoked === null) throw unavailable(null)
    const revokedAtMs = isRevoked ? (key.revokedAtMs ?? askedAtMs) : key.revokedAtMs
    const told = { ...known, key: { ...key, revokedAtMs }, freshUntilMs: askedAtMs + keyFreshMs }
    // Another request may have heard from D1 meanwhile.
    if (this.#known.get(digest) === known) putBounded(this.#known, digest, told, knownKeysMax)
    return told.key
  }
}

function unavailable(cause: unknown): AppError {
  return new AppError('auth_unavailable', 'API keys cannot be checked right now. Try again shortly.', {
    cause,
    retryAfterMs: restMs,
  })
}
