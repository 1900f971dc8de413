/** `axle key`: a key is shown once and works; what restricts, rotates and revokes it at the terminal does so at the gateway. */
import { beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { key } from '../../cli/key.ts'
import { tenant } from '../../cli/tenant.ts'
import { parseKey } from '../../contract/key-format.ts'
import { printedBy, terminalBench } from '../fixtures/terminal.ts'

const bench = terminalBench()
let tenantId = ''

beforeEach(async () => {
  tenantId = (await printedBy(tenant, 'create', 'Acme')).out
})

const run = (...args: string[]) => printedBy(key, ...args)

async function create(...options: string[]): Promise<{ text: string; id: string }> {
  const { out } = await run('create', tenantId, '--name', 'ci', ...options)
  const id = parseKey(out)?.id
  if (id === undefined) throw new Error(`No key on stdout: ${out}`)
  return { text: out, id }
}

/** Of a request that needs the scope inference. */
async function statusWith(text: string): Promise<number> {
  const response = await fetch(`${bench.edge.url}/v1/models`, { headers: { authorization: `Bearer ${text}` } })
  await response.body?.cancel()
  return response.status
}

async function shown(id: string): Promise<unknown> {
  const keys = z.array(z.looseObject({ id: z.string() })).parse(JSON.parse((await run('list', tenantId, '--json')).out))
  return keys.find((item) => item.id === id)
}

describe('axle key', () => {
  it('makes a key that works, its text alone on stdout and nowhere else', async () => {
    const { out, err, exitCode } = await run('create', tenantId, '--name', 'ci')
    expect(parseKey(out)?.kind).toBe('live')
    expect(exitCode).toBeUndefined()
    expect(err).toContain('never shown again')
    expect(err).not.toContain(out)
    expect(await statusWith(out)).not.toBe(401)
    expect((await run('list', tenantId)).out).not.toContain(out)
    expect((await run('list', tenantId, '--json')).out).not.toContain(out)
  })

  it('lists what restricts a key, where one is restricted', async () => {
    const { id: free } = await create()
    expect((await run('list', tenantId)).out).toMatch(/EXPIRES$/m)
    const { id } = await create('--models=axk1-tiny', '--ips=203.0.113.0/24')
    const { out } = await run('list', tenantId)
    expect(out).toMatch(/EXPIRES {2}ONLY FOR$/m)
    expect(out).toMatch(new RegExp(`^${id} .* axk1-tiny,203\\.0\\.113\\.0/24$`, 'm'))
    expect(out).toMatch(new RegExp(`^${free} .* -$`, 'm'))
  })

  it('gives it scopes, models, addresses and an end, and lifts them again', async () => {
    const limits = ['--scopes=usage,inference', '--models=axk1-tiny', '--ips=203.0.113.0/24', '--expires=90d']
    const { id, text } = await create(...limits)
    expect(await shown(id)).toMatchObject({
      name: 'ci',
      scopes: ['usage', 'inference'],
      models: ['axk1-tiny'],
      ip_allowlist: ['203.0.113.0/24'],
    })
    const { out } = await run('list', tenantId)
    const inAQuarter = new Date(Date.now() + 90 * 86_400_000).toISOString().slice(0, 10)
    expect(out).toMatch(new RegExp(`${id} +ci +usage,inference .* ${inAQuarter} `))
    expect(await statusWith(text)).toBe(401)

    const lifted = await run('update', tenantId, id, '--ips=any', '--models=any', '--expires=never', '--name=build')
    expect(lifted.out).toMatch(/name +build\n.*\nexpires +never\nmodels +any\naddresses +any$/)
    expect(await shown(id)).toMatchObject({ name: 'build', models: null, ip_allowlist: null, expires_at: null })
  })

  it('rotates: the new key works with the old rights, the old one until its overlap is over', async () => {
    const old = await create('--models=axk1-tiny')
    const { out: fresh } = await run('rotate', tenantId, old.id, '--overlap', '1h')
    const freshId = parseKey(fresh)?.id ?? ''
    expect(freshId).not.toBe(old.id)
    expect([await statusWith(old.text), await statusWith(fresh)]).not.toContain(401)
    expect(await shown(freshId)).toMatchObject({ models: ['axk1-tiny'], replaces: old.id, expires_at: null })

    const { out: third } = await run('rotate', tenantId, freshId, '--overlap', '0')
    expect(await statusWith(third)).not.toBe(401)
    expect(await shown(freshId)).toBeUndefined()
  })

  it('revokes: the key is gone from the list, and a second time there is none', async () => {
    const { id } = await create()
    const { out } = await run('revoke', tenantId, id)
    expect(out).toContain(`${id} is revoked`)
    expect(await shown(id)).toBeUndefined()
    expect((await run('revoke', tenantId, id)).err).toContain('(not_found)')
  })

  it('leaves everything as it was where Redis, which must know first, is away', async () => {
    await bench.redis.kill()
    const { err, exitCode } = await run('rotate', tenantId, (await create()).id, '--overlap', '0')
    expect(exitCode).toBe(1)
    expect(err).toContain('(queue_unavailable)')
    await bench.redis.start()
    expect(JSON.parse((await run('list', tenantId, '--json')).out)).toHaveLength(1)
  })

  it.each([
    [['create', 'TENANT'], 'expected --name'],
    [['create', 'TENANT', '--name', 'a', '--scopes', 'admin'], "'scopes"],
    [['create', 'TENANT', '--name', 'a', '--expires', '3 weeks'], '--expires: expected a time such as 90d'],
    [['create', 'TENANT', '--name', 'a', '--ips', '300.1.1.1'], "'ip_allowlist"],
    [['update', 'TENANT', 'abcdefgh'], 'expected at least one option'],
    [['rotate', 'TENANT', 'abcdefgh', '--overlap', '8d'], "'overlap_seconds'"],
    [['revoke', 'TENANT', 'abcdefgh'], '(not_found)'],
    [['list', 'proj_unknown'], '(not_found)'],
  ])('refuses %j, naming what is wrong', async (args, message) => {
    const { out, err, exitCode } = await run(...args.map((word) => (word === 'TENANT' ? tenantId : word)))
    expect(err).toContain(message)
    expect(out).toBe('')
    expect(exitCode).toBe(1)
  })
})
