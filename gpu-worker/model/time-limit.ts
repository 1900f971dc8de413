/**
 * Work that must end by itself or be ended: code of a checkpoint (templates, patterns) over texts of clients.
 *
 * V8 stops JavaScript and regular expressions in the middle, so what the work changes must not outlive it. It knows no work.
 */
import { createContext, runInContext } from 'node:vm'

export class TimeLimitError extends Error {
  override readonly name = 'TimeLimitError'

  constructor(msMax: number) {
    super(`it takes longer than ${msMax} ms`)
  }
}

const room: { work: (() => void) | null } = { work: null }
createContext(room)

/** What `work` returns or throws; throws TimeLimitError when it runs longer than `msMax`. Not for work that awaits. */
export function withinMs<T>(msMax: number, work: () => T): T {
  let outcome: { readonly value: T } | null = null
  const outer = room.work
  room.work = () => {
    outcome = { value: work() }
  }
  try {
    runInContext('work()', room, { timeout: msMax })
  } catch (error) {
    throw isTimeout(error) ? new TimeLimitError(msMax) : error
  } finally {
    room.work = outer
  }
  return valueOf<T>(outcome)
}

function valueOf<T>(outcome: { readonly value: T } | null): T {
  if (outcome === null) throw new Error('The work ended without an outcome')
  return outcome.value
}

/** Asked by code: the error may belong to the other context. */
function isTimeout(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'
}
