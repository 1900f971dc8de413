/** Gives every request an id of ours and puts it on every answer. A client's id is never read. */
import { createMiddleware } from 'hono/factory'
import { ulid } from 'ulid'
import type { AppEnv } from '../app-env.ts'

export const requestIdHeader = 'x-request-id'

export const requestId = createMiddleware<AppEnv>(async (context, next) => {
  const id = `req_${ulid()}`
  context.set('requestId', id)
  await next()
  context.res.headers.set(requestIdHeader, id)
})
