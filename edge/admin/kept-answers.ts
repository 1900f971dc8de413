/**
 * Answers kept for 24 h, one for each caller and Idempotency-Key: found again, or written in the batch that they
 * answer.
 *
 * Two that race for one key: the table takes one row, so the other's whole batch fails. Knows no route.
 */
import { z } from 'zod'
import { AppError } from '../../contract/errors.ts'
import { idempotencyTtlMs } from '../../contract/limits.ts'
import type { Idempotency } from '../broker/protocol.ts'
import { openAnswer, sealAnswer, type SealFacts } from './sealed-answer.ts'

const answerRow = z.object({ body_digest: z.string(), status: z.number(), sealed_body: z.string() })

export interface Answer {
  readonly status: number
  /** JSON. */
  readonly text: string
}

export class KeptAnswers {
  readonly #db: D1Database
  readonly #callerKeyId: string
  readonly #idempotency: Idempotency
  readonly #seal: SealFacts

  constructor(
    db: D1Database,
    callerKeyId: string,
    idempotency: Idempotency,
    key: { peppers: readonly string[]; text: string },
  ) {
    this.#db = db
    this.#callerKeyId = callerKeyId
    this.#idempotency = idempotency
    const row = `${callerKeyId}\n${idempotency.keyDigest}`
    this.#seal = { peppers: key.peppers, idempotencyKey: key.text, row }
  }

  /**
   * The answer that this key got before.
   * @throws AppError idempotency_key_reused when it was to another request.
   */
  async find(nowMs: number): Promise<Answer | null> {
    const found = await this.#db
      .prepare(
        `SELECT body_digest, status, sealed_body FROM idempotent_answers
         WHERE caller_key_id = ? AND key_digest = ? AND created_at_ms > ?`,
      )
      .bind(this.#callerKeyId, this.#idempotency.keyDigest, nowMs - idempotencyTtlMs)
      .first()
    if (found === null) return null
    const row = answerRow.parse(found)
    if (row.body_digest !== this.#idempotency.bodyDigest) {
      throw reused('This Idempotency-Key was used for another request. Use a new one.')
    }
    const text = await openAnswer(row.sealed_body, this.#seal)
    if (text === null)
      throw reused('The answer kept for this Idempotency-Key cannot be opened any more. Use a new one.')
    return { status: row.status, text }
  }

  /** To run ahead of the effects: the second of two that race fails here, before it could change anything. */
  async rows(answer: Answer, nowMs: number): Promise<D1PreparedStatement[]> {
    const { keyDigest, bodyDigest } = this.#idempotency
    return [
      this.#db
        .prepare('DELETE FROM idempotent_answers WHERE caller_key_id = ? AND key_digest = ? AND created_at_ms <= ?')
        .bind(this.#callerKeyId, keyDigest, nowMs - idempotencyTtlMs),
      this.#db
        .prepare(
          `INSERT INTO idempotent_answers (caller_key_id, key_digest, body_digest, status, sealed_body, created_at_ms)
           VALUES (?, ?, ?, ?, ?, ?)`,
        )
        .bind(
          this.#callerKeyId,
          keyDigest,
          bodyDigest,
          answer.status,
          await sealAnswer(answer.text, this.#seal),
          nowMs,
        ),
    ]
  }
}

/** Whether a batch failed because another request with this key was faster. */
export function isInProgress(error: unknown): boolean {
  return error instanceof Error && error.message.includes('UNIQUE constraint failed: idempotent_answers.')
}

function reused(message: string): AppError {
  return new AppError('idempotency_key_reused', message, { param: 'idempotency-key' })
}
