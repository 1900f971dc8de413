/**
 * `--tenant`, which the API takes as a filter: what no tenant has as its id finds nothing there, and must not pass for a
 * tenant that used or changed nothing. It knows none of the lists it filters.
 */
import { ApiRefusal } from '../admin-api.ts'
import { projectAnswer } from './answers.ts'
import type { Call } from './command.ts'

/**
 * To be asked where nothing was found.
 *
 * @throws Error where the tenant asked for does not exist.
 */
export async function checkTenant(call: Call): Promise<void> {
  const tenant = call.option('tenant')
  if (tenant === undefined) return
  try {
    await call.api.get(`/v1/organization/projects/${encodeURIComponent(tenant)}`, projectAnswer)
  } catch (error) {
    if (!(error instanceof ApiRefusal && error.status === 404)) throw error
    throw new Error(`--tenant: there is no tenant '${tenant}'; tenant list shows them`, { cause: error })
  }
}
