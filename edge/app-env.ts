/** What every handler of the app finds in its context. */
import type { ErrorCode } from '../contract/errors.ts'
import type { Caller } from './auth/caller.ts'
import type { Env } from './env.ts'

export interface AppEnv {
  Bindings: Env
  Variables: {
    requestId: string
    /** Set on every route that is not public. */
    caller: Caller
    arrivedAtMs: number
    /** Of an error answer. */
    errorCode: ErrorCode | undefined
  }
}
