/**
 * Default deny (I16): whatever a request matches demands a key, unless the route table says that it is public.
 *
 * A path that no route matches goes on to be a plain 404; it reaches no handler. Knows no key format and no store.
 */
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import type { AppEnv } from '../app-env.ts'
import { authenticate } from '../auth/authenticate.ts'
import type { Access } from '../auth/scopes.ts'
import type { Route } from '../route-table.ts'

/** Pattern under which middleware is registered, and nothing else. */
export const middlewarePattern = '/*'

export function auth(routes: readonly Route[]) {
  return createMiddleware<AppEnv>(async (context, next) => {
    const matched = matchedRoutes(context).find((route) => route.path !== middlewarePattern)
    const access = matched === undefined ? 'public' : accessOf(routes, matched.path, context.req.method)
    if (access !== 'public') {
      const behind = (work: Promise<void>) => context.executionCtx.waitUntil(work)
      context.set('caller', await authenticate(context.req.raw, access, context.env, behind))
    }
    await next()
  })
}

/** Of a method that the path does not take: as its first route; of a path that is not in the table: the strictest. */
function accessOf(routes: readonly Route[], path: string, method: string): Access {
  const ofPath = routes.filter((route) => route.path === path)
  const wanted = method === 'HEAD' ? 'GET' : method
  return (ofPath.find((route) => route.method === wanted) ?? ofPath[0])?.access ?? 'admin'
}
