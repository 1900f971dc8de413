/**
 * The gateway's routes and what surrounds them: request id, settings, auth, errors.
 *
 * The order below is the order of a request. It knows no route's inside.
 */
import { Hono, type Handler } from 'hono'
import { AppError } from '../contract/errors.ts'
import type { AppEnv } from './app-env.ts'
import { readSettings } from './env.ts'
import { auth } from './middleware/auth.ts'
import { answerError, notFound } from './middleware/errors.ts'
import { requestId } from './middleware/request-id.ts'
import { chatCompletions, chatCompletionsPath } from './routes/chat-completions.ts'
import { healthz, readyz } from './routes/health.ts'
import { listModels, retrieveModel } from './routes/models.ts'

export function createApp(): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  app.onError(answerError)
  app.notFound(notFound)
  app.use(requestId)
  app.use(async (context, next) => {
    readSettings(context.env)
    await next()
  })
  app.use(auth)

  route(app, 'GET', '/healthz', healthz)
  route(app, 'GET', '/readyz', readyz)
  route(app, 'GET', '/v1/models', listModels)
  // An id may hold slashes, escaped or not.
  route(app, 'GET', '/v1/models/:model{.+}', retrieveModel)
  route(app, 'POST', chatCompletionsPath, chatCompletions)
  return app
}

/** One method a path; every other method of it is 405, behind the same door. */
function route(app: Hono<AppEnv>, method: 'GET' | 'POST', path: string, handler: Handler<AppEnv>): void {
  app.on(method, path, handler)
  app.all(path, (context) => {
    const answer = answerError(new AppError('method_not_allowed', `This route takes ${method} only.`), context)
    answer.headers.set('allow', method === 'GET' ? 'GET, HEAD' : method)
    return answer
  })
}
