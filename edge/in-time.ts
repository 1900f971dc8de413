/**
 * Work of the control plane, bounded: a database that fails or says nothing is a 503 to try again, no fault of ours.
 *
 * Work that ran out of time goes on and may still be done: an Idempotency-Key makes its repetition safe. Knows no
 * route.
 */
import type { Handler } from 'hono'
import { AppError } from '../contract/errors.ts'
import type { AppEnv } from './app-env.ts'
import { logError } from './log.ts'
import { within } from './within.ts'

/** Ten times what the longest of these queries takes on a busy machine. */
export const controlPlaneDeadlineMs = 10_000

/** @throws AppError control_plane_unavailable, or what the work throws itself. */
export async function inTime<T extends object>(work: Promise<T>): Promise<T> {
  try {
    const done = await within(work, controlPlaneDeadlineMs)
    if (done !== null) return done
  } catch (error) {
    if (!isOfDatabase(error)) throw error
    logError('control-plane-failed', error)
    throw unavailable(error)
  }
  logError('control-plane-failed', new Error(`D1 gave no answer in ${controlPlaneDeadlineMs} ms`))
  throw unavailable(null)
}

/** A handler that only reads. */
export function reading(handler: (context: Parameters<Handler<AppEnv>>[0]) => Promise<Response>): Handler<AppEnv> {
  return (context) => inTime(handler(context))
}

/** D1's own errors, told by the words that they begin with. */
function isOfDatabase(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('D1_')
}

function unavailable(cause: unknown): AppError {
  const message = 'The control plane cannot reach its database right now. Try again shortly, with an Idempotency-Key.'
  return new AppError('control_plane_unavailable', message, { cause, retryAfterMs: 1_000 })
}
