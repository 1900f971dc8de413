/**
 * Default deny (I16): every registered route demands a key unless its path is listed as public.
 *
 * A path that no route matches goes on to be a plain 404; it reaches no handler. Knows no key format and no store.
 */
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import type { AppEnv } from '../app-env.ts'
import { authenticate } from '../auth/authenticate.ts'

export const publicPaths: ReadonlySet<string> = new Set(['/healthz', '/readyz'])
/** Pattern under which middleware is registered, and nothing else. */
export const middlewarePattern = '/*'

export const auth = createMiddleware<AppEnv>(async (context, next) => {
  const routes = matchedRoutes(context).filter((route) => route.path !== middlewarePattern)
  const isPublic = routes.every((route) => publicPaths.has(route.path))
  if (!isPublic) {
    const header = context.req.raw.headers.get('authorization')
    context.set('caller', await authenticate(header, context.env, 'inference', Date.now()))
  }
  await next()
})
