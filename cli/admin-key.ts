/**
 * `axle admin-key`: keys of the Admin API. A key's text is printed once, by itself, on stdout; nothing here can show it
 * again. The first one comes from `axle bootstrap`.
 */
import { adminKeyAnswer, newKeyAnswer } from './admin/answers.ts'
import { type Call, runAction } from './admin/command.ts'
import { handKey, requireName } from './admin/new-key.ts'
import { table } from './admin/table.ts'
import { duration, fieldsOf, moment, text } from './admin/values.ts'

const help = `npm run --silent axle -- admin-key list
npm run --silent axle -- admin-key create --name NAME [--expires 90d]
npm run --silent axle -- admin-key revoke KEY

create prints the key alone on stdout; it is never shown again. To rotate: create one, use it, revoke the other with it.
A key cannot revoke itself, so one is always left.

  --json   the API's answer as it is

The deployment is AXLE_URL with AXLE_ADMIN_KEY, or the one that runs from AXLE_DATA_DIR (.axle).`

const path = '/v1/organization/admin_api_keys'
const fields = { name: ['name', text], expires: ['expires_in_seconds', duration] } as const

export function adminKey(args: string[]): Promise<void> {
  return runAction(args, help, {
    list: { operands: [], run: list },
    create: { operands: [], options: Object.keys(fields), run: create },
    revoke: { operands: ['KEY'], run: revoke },
  })
}

async function list(call: Call): Promise<void> {
  const keys = await call.api.list(path, adminKeyAnswer)
  const rows = keys.map((item) => [
    item.id,
    item.name,
    ...[item.created_at, item.last_used_at, item.expires_at].map(moment),
  ])
  call.tell(keys, table(['KEY', 'NAME', 'CREATED', 'LAST USED', 'EXPIRES'], rows, 'There are no admin keys.'))
}

async function create(call: Call): Promise<void> {
  requireName(call)
  const made = await call.api.post(path, newKeyAnswer, fieldsOf(call, fields))
  handKey(call, 'Admin key', made)
}

async function revoke(call: Call): Promise<void> {
  const id = call.operand(0)
  await call.api.delete(`${path}/${encodeURIComponent(id)}`)
  call.tell({ id, deleted: true }, `${id} is revoked: refused everywhere within 5 seconds.`)
}
