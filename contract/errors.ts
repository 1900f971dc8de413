/**
 * Every error a client can see: code → status, type, retryable. One class carries them; one place turns them into a
 * body.
 *
 * It knows no transport. Messages name what was expected and the way out; they never echo secrets or prompts.
 */
import type { RateState } from './quota.ts'

interface ErrorKind {
  readonly status: number
  readonly type: string
  readonly retryable: boolean
}

const user = (status: number, type = 'invalid_request_error'): ErrorKind => ({ status, type, retryable: false })
const passing = (status: number, type: string): ErrorKind => ({ status, type, retryable: true })

export const errorKinds = {
  invalid_json: user(400),
  invalid_encoding: user(400),
  invalid_type: user(400),
  invalid_value: user(400),
  missing_required_parameter: user(400),
  unknown_parameter: user(400),
  unsupported_parameter: user(400),
  contradictory_parameters: user(400),
  context_length_exceeded: user(400),
  template_error: user(400),
  missing_api_key: user(401, 'authentication_error'),
  invalid_api_key: user(401, 'authentication_error'),
  key_expired: user(401, 'authentication_error'),
  key_revoked: user(401, 'authentication_error'),
  ip_not_authorized: user(401, 'authentication_error'),
  insufficient_scope: user(403, 'permission_error'),
  model_not_allowed: user(403, 'permission_error'),
  service_tier_not_allowed: user(403, 'permission_error'),
  not_found: user(404),
  model_not_found: user(404),
  method_not_allowed: user(405),
  request_timeout: { status: 408, type: 'timeout', retryable: true },
  already_exists: user(409),
  project_archived: user(409),
  key_in_use: user(409),
  idempotency_in_progress: passing(409, 'conflict'),
  request_too_large: user(413),
  unsupported_media_type: user(415),
  idempotency_key_reused: user(422),
  rate_limit_exceeded: passing(429, 'rate_limit_error'),
  insufficient_quota: user(429, 'insufficient_quota'),
  cancelled: user(499, 'cancelled'),
  server_is_overloaded: passing(503, 'service_unavailable_error'),
  model_not_ready: passing(503, 'service_unavailable_error'),
  queue_unavailable: passing(503, 'service_unavailable_error'),
  auth_unavailable: passing(503, 'service_unavailable_error'),
  control_plane_unavailable: passing(503, 'service_unavailable_error'),
  job_expired: passing(504, 'server_error'),
  worker_failed: passing(500, 'server_error'),
  model_error: passing(500, 'server_error'),
  internal_error: passing(500, 'server_error'),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorKinds

/** The part of an error that crosses a process: what a job record and the log's end entry hold. */
export interface ErrorFacts {
  readonly code: ErrorCode
  readonly message: string
  readonly param: string | null
}

export interface AppErrorOptions {
  readonly param?: string | null
  readonly retryAfterMs?: number | null
  /** Where the case knows better than its code. */
  readonly shouldRetry?: boolean
  readonly rate?: RateState | null
  readonly cause?: unknown
}

/** A failure with a registered code: safe to show to the client as it is. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly param: string | null
  /** After which a retry may help; null = not known. */
  readonly retryAfterMs: number | null
  /** A retry of the same request may succeed. */
  readonly shouldRetry: boolean
  /** What is left of the tenant's limits, where they were looked at. */
  readonly rate: RateState | null

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.code = code
    this.param = options.param ?? null
    this.retryAfterMs = options.retryAfterMs ?? null
    this.shouldRetry = options.shouldRetry ?? errorKinds[code].retryable
    this.rate = options.rate ?? null
  }

  get status(): number {
    return errorKinds[this.code].status
  }

  get facts(): ErrorFacts {
    return { code: this.code, message: this.message, param: this.param }
  }
}

/** OpenAI's error object; all four fields are required by its clients. */
export interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: ErrorCode
  }
}

export function errorBody(facts: ErrorFacts): ErrorBody {
  return {
    error: { message: facts.message, type: errorKinds[facts.code].type, param: facts.param, code: facts.code },
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorKinds, text)
}
