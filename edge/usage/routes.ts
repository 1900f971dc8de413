/** The routes that tell what was used and what it cost, under /v1/organization. */
import { reading } from '../in-time.ts'
import type { Route } from '../route-table.ts'
import { usageCompletions } from './completions.ts'
import { costs } from './costs.ts'
import { usageJobs } from './jobs.ts'

const organization = '/v1/organization'

export const usageRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: `${organization}/usage/completions`,
    access: 'usage-or-admin',
    handler: reading(usageCompletions),
  },
  { method: 'GET', path: `${organization}/usage/jobs`, access: 'usage-or-admin', handler: reading(usageJobs) },
  { method: 'GET', path: `${organization}/costs`, access: 'usage-or-admin', handler: reading(costs) },
]
