/**
 * `axle key`: API keys of a tenant. A key's text is printed once, by itself, on stdout; nothing here can show it again.
 */
import type { z } from 'zod'
import { keyAnswer, newKeyAnswer } from './admin/answers.ts'
import { type Call, runAction } from './admin/command.ts'
import { handKey, requireName } from './admin/new-key.ts'
import { facts, table } from './admin/table.ts'
import { duration, durationOrNever, fieldsOf, listed, moment, names, namesOrAny, text } from './admin/values.ts'

const help = `npm run --silent axle -- key list TENANT
npm run --silent axle -- key create TENANT --name NAME [options]
npm run --silent axle -- key update TENANT KEY [options]
npm run --silent axle -- key rotate TENANT KEY [--overlap 24h]
npm run --silent axle -- key revoke TENANT KEY

create and rotate print the key alone on stdout: KEY=$(npm run --silent axle -- key create …). It is never shown again.
KEY is a key's id, as list shows it. rotate makes a key with the same rights; the old one works until the overlap is
over (at most 7d; 0: at once), and both count against the same limits. revoke is in force everywhere within 5 seconds.

  --name NAME          what people call it
  --scopes LIST        inference, usage, batch, files, webhooks (inference)
  --expires TIME       from now on, such as 90d or 12h
  --models LIST        the only models it may ask
  --ips LIST           the only addresses or ranges it may come from, such as 203.0.113.0/24
  --json               the API's answer as it is

update lifts restrictions by --expires never, --models any and --ips any.

The deployment is AXLE_URL with AXLE_ADMIN_KEY, or the one that runs from AXLE_DATA_DIR (.axle).`

const fields = {
  name: ['name', text],
  scopes: ['scopes', names],
  expires: ['expires_in_seconds', durationOrNever],
  models: ['models', namesOrAny],
  ips: ['ip_allowlist', namesOrAny],
} as const
const options = Object.keys(fields)

export function key(args: string[]): Promise<void> {
  return runAction(args, help, {
    list: { operands: ['TENANT'], run: list },
    create: { operands: ['TENANT'], options, run: create },
    update: { operands: ['TENANT', 'KEY'], options, run: update },
    rotate: { operands: ['TENANT', 'KEY'], options: ['overlap'], run: rotate },
    revoke: { operands: ['TENANT', 'KEY'], run: revoke },
  })
}

async function list(call: Call): Promise<void> {
  const keys = await call.api.list(keysPath(call), keyAnswer)
  const rows = keys.map((item) => [
    item.id,
    item.name,
    item.scopes.join(','),
    moment(item.created_at),
    moment(item.last_used_at),
    moment(item.expires_at),
    // Nothing where there is none: few keys are restricted, and lines end with what they say.
    [item.models ?? [], item.ip_allowlist ?? []].flat().join(','),
  ])
  const header = ['KEY', 'NAME', 'SCOPES', 'CREATED', 'LAST USED', 'EXPIRES']
  const isRestricted = keys.some((item) => item.models !== null || item.ip_allowlist !== null)
  call.tell(keys, table(isRestricted ? [...header, 'ONLY FOR'] : header, rows, 'This tenant has no keys.'))
}

async function create(call: Call): Promise<void> {
  requireName(call)
  handKey(call, 'Key', await call.api.post(keysPath(call), newKeyAnswer, fieldsOf(call, fields)))
}

async function update(call: Call): Promise<void> {
  const changes = fieldsOf(call, fields)
  if (Object.keys(changes).length === 0) throw new TypeError('update: expected at least one option; --help lists them')
  const item = await call.api.post(keyPath(call), keyAnswer, changes)
  call.tell(item, described(item))
}

async function rotate(call: Call): Promise<void> {
  const overlap = fieldsOf(call, { overlap: ['overlap_seconds', duration] })
  handKey(call, 'Key', await call.api.post(`${keyPath(call)}/rotate`, newKeyAnswer, overlap))
}

async function revoke(call: Call): Promise<void> {
  await call.api.delete(keyPath(call))
  call.tell(
    { id: call.operand(1), deleted: true },
    `${call.operand(1)} is revoked: refused everywhere within 5 seconds.`,
  )
}

function described(item: z.infer<typeof keyAnswer>): string {
  return facts([
    ['key', item.id],
    ['name', item.name],
    ['scopes', item.scopes.join(',')],
    ['expires', item.expires_at === null ? 'never' : moment(item.expires_at)],
    ['models', listed(item.models, 'any')],
    ['addresses', listed(item.ip_allowlist, 'any')],
  ])
}

function keysPath(call: Call): string {
  return `/v1/organization/projects/${encodeURIComponent(call.operand(0))}/api_keys`
}

function keyPath(call: Call): string {
  return `${keysPath(call)}/${encodeURIComponent(call.operand(1))}`
}
