/**
 * The headers that let a client send a request again: `Idempotency-Key` names it, `Last-Event-ID` says how far its
 * stream was read.
 *
 * Only digests leave this file, so nothing a client chose becomes part of a key or a record. Pure but for SHA-256.
 */
import { createHash } from 'node:crypto'
import { AppError } from '../contract/errors.ts'
import { idempotencyKeyCharsMax } from '../contract/limits.ts'
import type { Idempotency } from './broker/protocol.ts'
import { canonicalJson, type JsonObject } from './json-body.ts'

/** On an answer to an earlier request with the same Idempotency-Key. */
export const replayedHeader = 'idempotent-replayed'

export interface Repetition {
  readonly idempotency: Idempotency | null
  /** Log entries the client has seen; 0 when it asks for all. */
  readonly after: number
}

/** @throws AppError invalid_value. */
export function readRepetition(headers: Headers, route: string, body: JsonObject): Repetition {
  const key = headers.get('idempotency-key')
  const after = readLastEventId(headers.get('last-event-id'))
  if (key === null) {
    if (after === null) return { idempotency: null, after: 0 }
    throw invalid('last-event-id', 'Last-Event-ID needs the Idempotency-Key of the request it belongs to.')
  }
  if (key.length === 0 || key.length > idempotencyKeyCharsMax || !/^[\x21-\x7e]+$/.test(key)) {
    throw invalid(
      'idempotency-key',
      `Idempotency-Key: expected 1 to ${idempotencyKeyCharsMax} visible ASCII characters.`,
    )
  }
  return {
    idempotency: {
      keyDigest: sha256(key),
      bodyDigest: sha256(`${route}\n${canonicalJson(body)}`),
      isResumption: after !== null && after > 0,
    },
    after: after ?? 0,
  }
}

function readLastEventId(text: string | null): number | null {
  if (text === null) return null
  const sequence = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(sequence))
    throw invalid('last-event-id', 'Last-Event-ID: expected an event id of the stream.')
  return sequence
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function invalid(param: string, message: string): AppError {
  return new AppError('invalid_value', message, { param })
}
