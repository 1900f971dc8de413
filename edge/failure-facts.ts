/** What a client may be told of a failure in the middle of an answer. What is not an AppError is logged, not told. */
import { AppError, type ErrorFacts } from '../contract/errors.ts'
import { logError } from './log.ts'

export function factsOf(error: unknown): ErrorFacts {
  if (error instanceof AppError) return error.facts
  logError('answer-broke', error)
  return { code: 'internal_error', message: 'The server failed in the middle of this answer.', param: null }
}
