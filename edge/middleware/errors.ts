/**
 * Errors → answers, in one place: OpenAI's error object, the code's status, and whether a retry helps.
 *
 * What is not an AppError is our fault: it is logged without the request and answered as internal_error.
 */
import type { Context } from 'hono'
import { AppError, errorBody } from '../../contract/errors.ts'
import { retryAfterToldMaxMs } from '../../contract/limits.ts'
import type { AppEnv } from '../app-env.ts'
import { logError } from '../log.ts'
import { setRateHeaders } from '../rate-headers.ts'
import { requestIdHeader } from './request-id.ts'

export function answerError(error: unknown, context: Context<AppEnv>): Response {
  const known = error instanceof AppError ? error : internalError(error, context.get('requestId'))
  context.set('errorCode', known.code)
  const headers = new Headers({ [requestIdHeader]: context.get('requestId') })
  // SDKs retry by status alone unless told otherwise.
  headers.set('x-should-retry', String(known.shouldRetry))
  if (known.retryAfterMs !== null) {
    headers.set('retry-after-ms', String(Math.min(known.retryAfterMs, retryAfterToldMaxMs)))
    headers.set('retry-after', String(Math.ceil(known.retryAfterMs / 1000)))
  }
  if (known.rate !== null) setRateHeaders(headers, known.rate)
  if (known.status === 401) headers.set('www-authenticate', 'Bearer')
  return Response.json(errorBody(known.facts), { status: known.status, headers })
}

export function notFound(): never {
  throw new AppError('not_found', 'There is no such route. The API begins at /v1/models.')
}

function internalError(error: unknown, requestId: string): AppError {
  logError('request-failed', error, { requestId })
  return new AppError('internal_error', `The server failed to handle this request. Its id is ${requestId}.`)
}
