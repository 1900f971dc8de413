/**
 * The log of a Node process: one JSON line an event, to standard output.
 *
 * Of an error it tells what it is and where it came from, of nothing else that it carries: a Redis error holds its
 * command with all arguments, which may be a password or a tenant's words; a parser's message may quote its input.
 */
import { pino, type DestinationStream, type Logger } from 'pino'

/** Errors that others caused, at most. */
const causesMax = 3

/** @param destination tests read along. */
export function openLog(name: string, destination?: DestinationStream): Logger {
  const options = { name, serializers: { err: (error: unknown) => describeError(error, causesMax) } }
  return destination === undefined ? pino(options) : pino(options, destination)
}

function describeError(error: unknown, causesLeft: number): unknown {
  if (!(error instanceof Error)) return error
  const { name, message, stack, cause } = error
  const mayQuoteInput = name === 'ZodError' || name === 'SyntaxError'
  return {
    name,
    ...(mayQuoteInput ? {} : { message }),
    // The first lines repeat the message.
    stack: stack?.match(/^ +at .*$/gm) ?? [],
    ...(cause === undefined || causesLeft === 0 ? {} : { cause: describeError(cause, causesLeft - 1) }),
  }
}
