/** Admin keys as OpenAI's SDK sees them, and what keeps operators from locking themselves out. */
import { describe, expect, it } from 'vitest'
import { parseKey } from '../../contract/key-format.ts'
import { adminBench, adminClient, refusalOf, type MadeKey } from '../fixtures/admin-bench.ts'

const bench = adminBench()

function newAdminKey(fields: object = {}): Promise<MadeKey> {
  return bench.admin.tell('/admin_api_keys', { name: 'operator', ...fields })
}

describe('admin keys', () => {
  it('a new one is shown once, administers, runs no inference, and reads as the SDK expects', async () => {
    const { adminAPIKeys } = bench.admin.organization
    const { value, ...made } = await adminAPIKeys.create({ name: 'second operator', expires_in_seconds: 60 })
    expect(parseKey(value)).toEqual({ kind: 'admin', id: made.id })
    expect(made).toEqual({
      id: made.id,
      object: 'organization.admin_api_key',
      name: 'second operator',
      redacted_value: `axle_admin_${made.id}_…`,
      created_at: expect.any(Number),
      expires_at: made.created_at + 60,
      last_used_at: null,
      owner: { type: 'user', object: 'organization.user', name: 'admin', role: 'owner' },
    })
    const second = adminClient(bench.edge, value)
    expect((await second.organization.adminAPIKeys.list()).data.map(({ id }) => id)).toContain(made.id)
    const inference = await bench.edge.send('/v1/models', { headers: { authorization: `Bearer ${value}` } })
    expect((await refusalOf(inference)).slice(0, 2)).toEqual([403, 'insufficient_scope'])
  })

  it('are listed in either order, page by page, revoked ones left out', async () => {
    const { adminAPIKeys } = bench.admin.organization
    const made = [await newAdminKey(), await newAdminKey(), await newAdminKey()].map(({ id }) => id)
    await adminAPIKeys.delete(made[1] ?? '')
    const walk = async (order: 'asc' | 'desc') => {
      const ids: string[] = []
      for await (const { id } of adminAPIKeys.list({ order, limit: 1 })) ids.push(id)
      return ids
    }
    const rising = await walk('asc')
    expect(rising.filter((id) => made.includes(id))).toEqual([made[0], made[2]])
    expect(await walk('desc')).toEqual(rising.toReversed())
  })

  it('a key cannot delete itself, another can, and what is deleted is gone', async () => {
    const { id, value } = await newAdminKey()
    const path = `/admin_api_keys/${id}`
    const own = await adminClient(bench.edge, value).send(path, undefined, { method: 'DELETE' })
    expect(await refusalOf(own)).toEqual([409, 'key_in_use', null])
    expect(await bench.admin.organization.adminAPIKeys.delete(id)).toEqual({
      id,
      object: 'organization.admin_api_key.deleted',
      deleted: true,
    })
    for (const method of ['GET', 'DELETE']) {
      expect(await refusalOf(await bench.admin.send(path, undefined, { method }))).toEqual([404, 'not_found', null])
    }
  })

  it('of two that delete each other at the same time one is left', async () => {
    const [a, b] = [await newAdminKey(), await newAdminKey()]
    const answers = await bench.racing((isFirst) => {
      const [own, other] = isFirst ? [a, b] : [b, a]
      return adminClient(bench.edge, own.value).send(`/admin_api_keys/${other.id}`, undefined, { method: 'DELETE' })
    })
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const left = (await bench.admin.organization.adminAPIKeys.list({ limit: 100 })).data
    expect(left.filter(({ id }) => id === a.id || id === b.id)).toHaveLength(1)
  })

  it("a tenant's key is no admin key: it is neither found nor deleted here", async () => {
    const key = await bench.newKey(await bench.newProject())
    for (const method of ['GET', 'DELETE']) {
      const answer = await bench.admin.send(`/admin_api_keys/${key.id}`, undefined, { method })
      expect(await refusalOf(answer)).toEqual([404, 'not_found', null])
    }
  })
})
