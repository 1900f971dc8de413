/**
 * Counts every answer by route and status, and how long its headers took.
 *
 * The outermost of all, so that no refusal escapes it. A path that no route matches counts as `none`: no client's text
 * becomes a name.
 */
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import { answerCounts } from '../../contract/gateway-counters.ts'
import type { AppEnv } from '../app-env.ts'
import { count } from '../gateway-counters.ts'
import { middlewarePattern } from './auth.ts'

export const countAnswers = createMiddleware<AppEnv>(async (context, next) => {
  const arrivedAtMs = Date.now()
  context.set('arrivedAtMs', arrivedAtMs)
  await next()
  const matched = matchedRoutes(context).find(({ path }) => path !== middlewarePattern)
  const route = matched?.path.replaceAll(/\{[^}]*\}/g, '') ?? 'none'
  count(context, answerCounts(route, context.res.status, Date.now() - arrivedAtMs, context.get('errorCode') ?? null))
})
