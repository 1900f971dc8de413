/**
 * The audit log's one writer: who did what, when, from where, beside each effect in the same batch.
 *
 * It knows no resource. Details name fields and values of the control plane, never a key, a prompt or a secret.
 */
import { ulid } from 'ulid'

export type AuditType =
  | 'project.created'
  | 'project.updated'
  | 'project.archived'
  | 'api_key.created'
  | 'api_key.updated'
  | 'api_key.deleted'
  | 'rate_limit.updated'
  | 'spend_limit.updated'
  | 'spend_limit.deleted'
  | 'price.created'
  | 'organization.admin_api_key.created'
  | 'organization.admin_api_key.deleted'

export interface AuditEvent {
  readonly type: AuditType
  /** Null where it concerns the whole deployment. */
  readonly projectId: string | null
  readonly resourceId: string
  /** What was asked for: `data` of a new thing, `changes_requested` of another. */
  readonly details?: Readonly<Record<string, unknown>>
}

export interface Actor {
  /** Null for the bootstrap secret. */
  readonly keyId: string | null
  readonly address: string | null
  readonly requestId: string
}

/**
 * Stands directly behind its effect in a batch. An effect that changed no row leaves the type NULL, which the table
 * refuses, and so the whole batch: no effect without its row, no row without its effect.
 */
export function auditRow(db: D1Database, event: AuditEvent, actor: Actor, nowMs: number): D1PreparedStatement {
  return db
    .prepare(
      `INSERT INTO audit_logs (id, at_ms, type, actor_key_id, actor_ip, request_id, project_id, resource_id, details)
       VALUES (?, ?, CASE WHEN changes() > 0 THEN ? END, ?, ?, ?, ?, ?, ?)`,
    )
    .bind(
      `audit_${ulid(nowMs)}`,
      nowMs,
      event.type,
      actor.keyId,
      actor.address,
      actor.requestId,
      event.projectId,
      event.resourceId,
      JSON.stringify({ id: event.resourceId, ...event.details }),
    )
}

/** Whether a batch failed because an effect found nothing to change. */
export function isWithoutEffect(error: unknown): boolean {
  return error instanceof Error && error.message.includes('NOT NULL constraint failed: audit_logs.type')
}
