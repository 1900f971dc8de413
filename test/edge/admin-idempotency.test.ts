/** Idempotency-Key on the Admin API: a repeated change changes once, and its answer, new key included, is told again. */
import { describe, expect, it } from 'vitest'
import { idempotencyTtlMs } from '../../contract/limits.ts'
import { openAnswer, sealAnswer } from '../../edge/admin/sealed-answer.ts'
import { adminBench, adminClient, refusalOf, type MadeKey } from '../fixtures/admin-bench.ts'
import { testPepper } from '../fixtures/edge.ts'

const bench = adminBench()
const inProgress = [409, 'idempotency_in_progress', null]
const repeated = (key: string): RequestInit => ({ headers: { 'idempotency-key': key } })

async function count(sql: string, ...bindings: string[]): Promise<number> {
  const row = await bench.edge.database
    .prepare(sql)
    .bind(...bindings)
    .first<{ n: number }>()
  return row?.n ?? Number.NaN
}

const keysOf = (project: string) => count('SELECT count(*) AS n FROM api_keys WHERE tenant_id = ?', project)
const eventsOf = (project: string) => count('SELECT count(*) AS n FROM audit_logs WHERE project_id = ?', project)

describe('a repeated change', () => {
  it('is done once, and its answer told again byte by byte, the new key included', async () => {
    const project = await bench.newProject()
    const path = `/projects/${project}/api_keys`
    const first = await bench.admin.send(path, { name: 'lost', scopes: ['usage'] }, repeated('make'))
    const again = await bench.admin.send(path, { scopes: ['usage'], name: 'lost' }, repeated('make'))
    expect([first.status, again.status]).toEqual([200, 200])
    expect([first.headers.get('idempotent-replayed'), again.headers.get('idempotent-replayed')]).toEqual([null, 'true'])
    const text = await first.text()
    expect(text).toContain('axle_live_')
    expect(await again.text()).toBe(text)
    expect(again.headers.get('x-request-id')).not.toBe(first.headers.get('x-request-id'))
    expect(await keysOf(project)).toBe(1)
    expect(await eventsOf(project)).toBe(2)
  })

  it('of a project that is archived is still told as it was', async () => {
    const project = await bench.newProject()
    const made = await bench.admin.tell(`/projects/${project}/api_keys`, { name: 'n' }, repeated('before'))
    await bench.admin.tell(`/projects/${project}/archive`, {}, repeated('archive'))
    expect(await bench.admin.tell(`/projects/${project}/api_keys`, { name: 'n' }, repeated('before'))).toEqual(made)
    const again = await bench.admin.tell(`/projects/${project}/archive`, {}, repeated('archive'))
    expect(again).toMatchObject({ id: project, status: 'archived' })
  })

  it('with another body, or on another route, is 422 and changes nothing', async () => {
    const project = await bench.newProject()
    const path = `/projects/${project}/api_keys`
    await bench.admin.tell(path, { name: 'one' }, repeated('body'))
    for (const [route, body] of [
      [path, { name: 'two' }],
      ['/projects', { name: 'one' }],
    ] as const) {
      const other = await bench.admin.send(route, body, repeated('body'))
      expect(await refusalOf(other)).toEqual([422, 'idempotency_key_reused', 'idempotency-key'])
    }
    expect(await keysOf(project)).toBe(1)
  })

  it('sent many times at once is done once; the others hear its answer, or that it is under way', async () => {
    const project = await bench.newProject()
    const path = `/projects/${project}/api_keys`
    const send = () => bench.admin.send(path, { name: 'race' }, repeated('race'))
    const answers = await Promise.all(Array.from({ length: 24 }, send))
    const done = answers.filter(({ status }) => status === 200)
    const refused = answers.filter(({ status }) => status !== 200)
    const bodies = new Set(await Promise.all(done.map((answer) => answer.text())))
    for (const answer of refused) expect(await refusalOf(answer)).toEqual(inProgress)
    expect(bodies.size).toBe(1)
    expect(await (await send()).text()).toBe([...bodies][0])
    expect(await keysOf(project)).toBe(1)
    expect(await eventsOf(project)).toBe(2)
  })

  it('while the first is under way is 409 and worth a retry, which hears the answer', async () => {
    const project = await bench.newProject()
    const archive = () => bench.admin.send(`/projects/${project}/archive`, {}, repeated('under-way'))
    const answers = await bench.racing(archive)
    const refused = answers.find(({ status }) => status !== 200)
    if (refused === undefined) throw new Error('Both were done')
    expect([refused.headers.get('x-should-retry'), refused.headers.get('retry-after')]).toEqual(['true', '1'])
    expect(await refusalOf(refused)).toEqual(inProgress)
    const done = answers.filter(({ status }) => status === 200)
    const texts = await Promise.all([...done, await archive()].map((answer) => answer.text()))
    expect(texts[1]).toBe(texts[0])
    expect(await eventsOf(project)).toBe(2)
  })

  it('that was refused leaves its key free', async () => {
    const body = { name: 'n', tiers: ['flex'] }
    expect((await bench.admin.send('/projects', body, repeated('free'))).status).toBe(400)
    const mended = { ...body, default_tier: 'flex' }
    expect(await bench.admin.tell('/projects', mended, repeated('free'))).toMatchObject({ tiers: ['flex'] })
  })

  it('under another admin key is a request of its own', async () => {
    const { value } = await bench.admin.tell<MadeKey>('/admin_api_keys', { name: 'second' })
    const other = adminClient(bench.edge, value)
    const mine = await bench.admin.tell<{ id: string }>('/projects', { name: 'mine' }, repeated('shared'))
    const theirs = await other.tell<{ id: string }>('/projects', { name: 'theirs' }, repeated('shared'))
    expect(theirs.id).not.toBe(mine.id)
  })

  it('is known for 24 h and not for longer', async () => {
    const made = await bench.admin.tell<{ id: string }>('/projects', { name: 'n' }, repeated('day'))
    const age = (ms: number) =>
      bench.edge.database.prepare('UPDATE idempotent_answers SET created_at_ms = created_at_ms - ?').bind(ms).run()
    await age(idempotencyTtlMs - 60_000)
    expect(await bench.admin.tell('/projects', { name: 'n' }, repeated('day'))).toEqual(made)
    await age(60_000)
    const next = await bench.admin.tell<{ id: string }>('/projects', { name: 'n' }, repeated('day'))
    expect(next.id).not.toBe(made.id)
    expect(await bench.admin.tell('/projects', { name: 'n' }, repeated('day'))).toEqual(next)
  })

  it.each(['', 'k'.repeat(256), 'a b'])('with the unfit key %j is refused', async (key) => {
    const refusal = await refusalOf(await bench.admin.send('/projects', { name: 'n' }, repeated(key)))
    expect(refusal).toEqual([400, 'invalid_value', 'idempotency-key'])
  })
})

describe('a kept answer', () => {
  it('holds no key that the database could read', async () => {
    const project = await bench.newProject()
    const { value } = await bench.admin.tell<MadeKey>(
      `/projects/${project}/api_keys`,
      { name: 'n' },
      repeated('canary-idempotency-key'),
    )
    const { results } = await bench.edge.database.prepare('SELECT * FROM idempotent_answers').all()
    const dump = JSON.stringify(results)
    expect(results.length).toBeGreaterThan(0)
    for (const secret of [
      value,
      value.slice(19, 51),
      Buffer.from(value).toString('base64'),
      'canary-idempotency-key',
    ]) {
      expect(dump).not.toContain(secret)
    }
  })

  it('opens with the facts that sealed it, also under the previous pepper, and with no other', async () => {
    const facts = { peppers: [testPepper], idempotencyKey: 'key', row: 'row' }
    const sealed = await sealAnswer('{"value":"secret"}', facts)
    expect(await openAnswer(sealed, facts)).toBe('{"value":"secret"}')
    expect(await openAnswer(sealed, { ...facts, peppers: ['new', testPepper] })).toBe('{"value":"secret"}')
    const flipped = `${sealed.slice(0, 30)}${sealed[30] === 'A' ? 'B' : 'A'}${sealed.slice(31)}`
    expect(await openAnswer(flipped, facts)).toBeNull()
    for (const change of [{ peppers: ['new'] }, { idempotencyKey: 'other' }, { row: 'other' }]) {
      expect(await openAnswer(sealed, { ...facts, ...change })).toBeNull()
    }
    expect(await sealAnswer('{"value":"secret"}', facts)).not.toBe(sealed)
  })
})
