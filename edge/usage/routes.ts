/** The routes that tell what was used and what it cost, under /v1/organization. */
import type { Route } from '../route-table.ts'

export const usageRoutes: readonly Route[] = []
