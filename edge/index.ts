/** The Worker's entry: the app for requests, the Durable Object classes for the runtime. */
import { createApp } from './app.ts'
import { routes } from './route-table.ts'

export { Broker } from './broker/broker.ts'

export default createApp(routes)
