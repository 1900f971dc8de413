/** The control plane's routes under /v1/organization: projects, keys, limits, prices, audit. */
import type { Route } from '../route-table.ts'

export const adminRoutes: readonly Route[] = []
