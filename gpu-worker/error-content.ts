/** What of an error may be logged: errors carry what they met, and that may be a tenant's. It knows no job and no log. */
import { LogMismatch } from './answer-stream.ts'

/** Errors of ours say what is wrong without tenant data; of any other kind only where it happened is safe to log. */
export function withoutContent(error: unknown): unknown {
  if (error instanceof LogMismatch) return error
  return error instanceof Error ? { name: error.name, stack: error.stack?.match(/^ +at .*$/gm) } : typeof error
}
