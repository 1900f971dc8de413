/**
 * Every route of the gateway: method, path, who may call it, what answers.
 *
 * The app is built from this table and so is the door in front of it: what is not in it does not exist.
 */
import type { Handler } from 'hono'
import { bootstrap, bootstrapPath } from './admin/bootstrap.ts'
import { adminRoutes } from './admin/routes.ts'
import type { AppEnv } from './app-env.ts'
import type { Access } from './auth/scopes.ts'
import { chatCompletions, chatCompletionsPath } from './routes/chat-completions.ts'
import { healthz, readyz } from './routes/health.ts'
import { listModels, retrieveModel } from './routes/models.ts'
import { usageRoutes } from './usage/routes.ts'

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** As Hono takes it. */
  readonly path: string
  readonly access: Access
  readonly handler: Handler<AppEnv>
  /** Other methods of its path are answered as a path that is not there. */
  readonly isHidden?: true
}

const coreRoutes: readonly Route[] = [
  { method: 'GET', path: '/healthz', access: 'public', handler: healthz },
  { method: 'GET', path: '/readyz', access: 'public', handler: readyz },
  { method: 'GET', path: '/v1/models', access: 'inference', handler: listModels },
  // An id may hold slashes, escaped or not.
  { method: 'GET', path: '/v1/models/:model{.+}', access: 'inference', handler: retrieveModel },
  { method: 'POST', path: chatCompletionsPath, access: 'inference', handler: chatCompletions },
  // It asks for a secret of its own.
  { method: 'POST', path: bootstrapPath, access: 'public', handler: bootstrap, isHidden: true },
]

export const routes: readonly Route[] = [...coreRoutes, ...adminRoutes, ...usageRoutes]
