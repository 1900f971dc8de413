/** `axle audit`: who changed what, when, from where; newest first. The log has no command that changes it. */
import { z } from 'zod'
import { auditAnswer } from './admin/answers.ts'
import { type Call, runAction } from './admin/command.ts'
import { table } from './admin/table.ts'
import { checkTenant } from './admin/tenant-option.ts'
import { count, moment, since } from './admin/values.ts'

const help = `npm run --silent axle -- audit list [--tenant TENANT] [--since TIME] [--limit N]

  --tenant TENANT   of this tenant only
  --since TIME      24h ago, or from 2026-11-24 or 2026-11-24T10:00:00Z on
  --limit N         the newest N (100)
  --json            the API's answers as they are

The deployment is AXLE_URL with AXLE_ADMIN_KEY, or the one that runs from AXLE_DATA_DIR (.axle).`

const entriesUsual = 100
/** Under the name of an entry's type: what it concerns, and what was asked for. */
const details = z
  .object({ id: z.string(), data: z.unknown(), changes_requested: z.unknown() })
  .partial({ data: true, changes_requested: true })

/** Without an action it lists: there is nothing else to do with a log. */
export function audit(args: string[]): Promise<void> {
  const isOption = args[0]?.startsWith('--') === true && args[0] !== '--help'
  const given = args.length === 0 || isOption ? ['list', ...args] : args
  return runAction(given, help, { list: { operands: [], options: ['tenant', 'since', 'limit'], run: list } })
}

async function list(call: Call): Promise<void> {
  const [tenant, start, limit] = ['tenant', 'since', 'limit'].map((name) => call.option(name))
  const query = {
    project_ids: tenant === undefined ? undefined : [tenant],
    'effective_at[gte]': start === undefined ? undefined : since(start, '--since', Date.now()),
  }
  const itemsMax = limit === undefined ? entriesUsual : count(limit, '--limit')
  if (itemsMax === 0) throw new TypeError('--limit: expected at least 1')
  const entries = await call.api.list('/v1/organization/audit_logs', auditAnswer, query, itemsMax)
  if (entries.length === 0) await checkTenant(call)
  call.tell(
    entries,
    table(['WHEN', 'WHAT', 'OF', 'WHO', 'FROM', 'ASKED FOR'], entries.map(rowOf), 'Nothing was changed.'),
  )
}

function rowOf(entry: z.infer<typeof auditAnswer>): string[] {
  const asked = details.parse(entry[entry.type])
  return [
    moment(entry.effective_at),
    entry.type,
    asked.id,
    entry.actor.api_key?.id ?? 'bootstrap',
    entry.actor.ip_address ?? '-',
    JSON.stringify(asked.data ?? asked.changes_requested ?? {}),
  ]
}
