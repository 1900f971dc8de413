/** Is the gateway alive, and would a request be served? Public, so the answers say no more than that. */
import type { Context } from 'hono'
import { AppError } from '../../contract/errors.ts'
import type { AppEnv } from '../app-env.ts'
import { askFleet } from '../broker/client.ts'

/** The Worker runs. Asks nobody else, so that a broken store does not get the gateway restarted. */
export function healthz(): Response {
  return Response.json({ status: 'ok' })
}

/** A live GPU worker has generated a real token. */
export async function readyz(context: Context<AppEnv>): Promise<Response> {
  const { isReady } = await askFleet(context.env)
  if (!isReady) {
    throw new AppError('model_not_ready', 'No GPU worker is ready yet.', { retryAfterMs: 2_000 })
  }
  return Response.json({ status: 'ready' })
}
