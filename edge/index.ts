/** The Worker's entry: the app for requests, the clock's minute, the Durable Object classes for the runtime. */
import { createApp } from './app.ts'
import type { Env } from './env.ts'
import { countAnswers } from './middleware/count-answers.ts'
import { routes } from './route-table.ts'
import { scheduled } from './scheduled.ts'

export { Broker } from './broker/broker.ts'

const app = createApp(routes, countAnswers)

export default {
  fetch: app.fetch,
  scheduled: (controller, env) => scheduled(env, controller.scheduledTime),
} satisfies ExportedHandler<Env>
