/**
 * The gateway: its routes and what surrounds them: request id, settings, auth, errors.
 *
 * The order below is the order of a request. It knows no route's inside.
 */
import { Hono, type MiddlewareHandler } from 'hono'
import { AppError } from '../contract/errors.ts'
import type { AppEnv } from './app-env.ts'
import { readSettings } from './env.ts'
import { auth } from './middleware/auth.ts'
import { answerError, notFound } from './middleware/errors.ts'
import { requestId } from './middleware/request-id.ts'
import type { Route } from './route-table.ts'

/** @param around the outermost middleware, which needs a Worker to run in. */
export function createApp(routes: readonly Route[], around?: MiddlewareHandler<AppEnv>): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  app.onError(answerError)
  app.notFound(notFound)
  if (around !== undefined) app.use(around)
  app.use(requestId)
  app.use(async (context, next) => {
    readSettings(context.env)
    await next()
  })
  app.use(auth(routes))

  for (const { method, path, handler } of routes) app.on(method, path, handler)
  const told = routes.filter((route) => route.isHidden !== true)
  for (const path of new Set(told.map((route) => route.path))) refuseOthers(app, path, told)
  return app
}

/** Every method of a path that has no route is 405, behind the same door. */
function refuseOthers(app: Hono<AppEnv>, path: string, routes: readonly Route[]): void {
  const methods = routes.filter((route) => route.path === path).map((route) => route.method)
  app.all(path, (context) => {
    const refusal = new AppError('method_not_allowed', `This route takes ${methods.join(' and ')} only.`)
    const answer = answerError(refusal, context)
    answer.headers.set('allow', methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', '))
    return answer
  })
}
