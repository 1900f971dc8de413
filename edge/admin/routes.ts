/**
 * The control plane's routes under /v1/organization: projects, keys, limits, prices, audit. All for admin keys alone.
 */
import type { Handler } from 'hono'
import type { AppEnv } from '../app-env.ts'
import type { Route } from '../route-table.ts'
import { createAdminKey, listAdminKeys, retrieveAdminKey, revokeAdminKey } from './admin-keys.ts'
import { listAuditLogs } from './audit-logs.ts'
import { reading } from '../in-time.ts'
import { createPrice, listPrices } from './prices.ts'
import {
  changeProjectKey,
  createProjectKey,
  listProjectKeys,
  retrieveProjectKey,
  revokeProjectKey,
} from './project-keys.ts'
import { archiveProject, changeProject, createProject, listProjects, retrieveProject } from './projects.ts'
import { changeRateLimit, listRateLimits } from './rate-limits.ts'
import { rotateProjectKey } from './rotate-key.ts'
import { changeSpendLimit, deleteSpendLimit, retrieveSpendLimit } from './spend-limit.ts'

const organization = '/v1/organization'
const projects = `${organization}/projects`
const project = `${projects}/:project`
const adminKeys = `${organization}/admin_api_keys`
const key = `${project}/api_keys/:key`

export const adminRoutes: readonly Route[] = [
  admin('POST', projects, createProject),
  admin('GET', projects, reading(listProjects)),
  admin('GET', project, reading(retrieveProject)),
  admin('POST', project, changeProject),
  admin('POST', `${project}/archive`, archiveProject),
  admin('GET', `${project}/api_keys`, reading(listProjectKeys)),
  admin('POST', `${project}/api_keys`, createProjectKey),
  admin('GET', key, reading(retrieveProjectKey)),
  admin('POST', key, changeProjectKey),
  admin('DELETE', key, revokeProjectKey),
  admin('POST', `${key}/rotate`, rotateProjectKey),
  admin('GET', `${project}/rate_limits`, reading(listRateLimits)),
  admin('POST', `${project}/rate_limits/:limit`, changeRateLimit),
  admin('GET', `${project}/spend_limit`, reading(retrieveSpendLimit)),
  admin('POST', `${project}/spend_limit`, changeSpendLimit),
  admin('DELETE', `${project}/spend_limit`, deleteSpendLimit),
  admin('POST', adminKeys, createAdminKey),
  admin('GET', adminKeys, reading(listAdminKeys)),
  admin('GET', `${adminKeys}/:key`, reading(retrieveAdminKey)),
  admin('DELETE', `${adminKeys}/:key`, revokeAdminKey),
  admin('POST', `${organization}/prices`, createPrice),
  admin('GET', `${organization}/prices`, reading(listPrices)),
  admin('GET', `${organization}/audit_logs`, reading(listAuditLogs)),
]

function admin(method: Route['method'], path: string, handler: Handler<AppEnv>): Route {
  return { method, path, access: 'admin', handler }
}
