/** Case 6: two keys for a while, one quota; then one key. To the millisecond, by the clock of the edge and by Redis'. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keys } from '../../contract/keys.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { permit } from '../../edge/auth/permission.ts'
import { KeyDatabase, readKey, type StoredKey } from '../../edge/auth/stored-key.ts'
import { adminBench, refusalOf, type MadeKey } from '../fixtures/admin-bench.ts'
import { startScriptedWorker, testModel, type ScriptedWorker } from '../fixtures/scripted-worker.ts'
import { testPepper } from '../fixtures/edge.ts'

const bench = adminBench()
const overlapSeconds = 3_600
const chat = { model: testModel.id, messages: [{ role: 'user', content: 'hello' }] }
const started: { worker?: ScriptedWorker } = {}

beforeAll(async () => {
  started.worker = await startScriptedWorker(bench.redis, 2)
})
afterAll(() => started.worker?.stop())

type Made = MadeKey & { readonly expires_at: number | null; readonly replaces: string | null }

function rotate(project: string, key: MadeKey, body: object): Promise<Made> {
  return bench.admin.tell(`/projects/${project}/api_keys/${key.id}/rotate`, body)
}

function ask({ value }: MadeKey): Promise<Response> {
  return bench.edge.chat(chat, { headers: { authorization: `Bearer ${value}` } })
}

/** As the gateway reads it. */
async function storedKeyOf({ value }: MadeKey): Promise<StoredKey> {
  const digest = { digest: keyDigest(value, testPepper), pepperId: 'p1' }
  return readKey((await new KeyDatabase(bench.edge.database).keyRow([digest])).row)
}

/** An answer of the model, whose job the worker has to make. */
async function answered(key: MadeKey): Promise<Response> {
  const answer = ask(key)
  const job = await started.worker?.next()
  await job?.answer(['hi'])
  return answer
}

async function remainingAfter(key: MadeKey): Promise<string | null> {
  return (await answered(key)).headers.get('x-ratelimit-remaining-requests')
}

describe('case 6: rotation with overlap', () => {
  it('case 6: both keys work until T, the new one after; T−1, T, T+1 ms by the clock of the edge', async () => {
    const project = await bench.newProject()
    const old = await bench.newKey(project, { scopes: ['inference', 'usage'], models: [testModel.id], name: 'ci' })
    const made = await rotate(project, old, { overlap_seconds: overlapSeconds })
    expect(made).toMatchObject({
      name: 'ci',
      scopes: ['inference', 'usage'],
      models: [testModel.id],
      expires_at: null,
      replaces: old.id,
    })
    expect([(await answered(old)).status, (await answered(made)).status]).toEqual([200, 200])

    const [storedOld, storedNew] = [await storedKeyOf(old), await storedKeyOf(made)]
    const endMs = storedOld.expiresAtMs ?? Number.NaN
    expect(Math.abs(endMs - Date.now() - overlapSeconds * 1_000)).toBeLessThan(60_000)
    const codeAt = (key: typeof storedOld, nowMs: number) => {
      try {
        return permit(key, 'inference', null, nowMs).keyId
      } catch (error) {
        return error instanceof Error && 'code' in error ? error.code : error
      }
    }
    const moments = [endMs - 1, endMs, endMs + 1]
    expect(moments.map((nowMs) => codeAt(storedOld, nowMs))).toEqual([old.id, 'key_expired', 'key_expired'])
    expect(moments.map((nowMs) => codeAt(storedNew, nowMs))).toEqual([made.id, made.id, made.id])
  })

  it('case 6: Redis refuses the old key from T on, also where the clock of the edge is behind', async () => {
    const project = await bench.newProject()
    const old = await bench.newKey(project)
    const made = await rotate(project, old, { overlap_seconds: overlapSeconds })
    const endMs = (await storedKeyOf(old)).expiresAtMs ?? Number.NaN
    const redis = bench.redis.connect()
    const shiftTo = (ms: number) => redis.set(keys.clockOffset, ms - Date.now())
    await shiftTo(endMs - 30_000)
    expect((await answered(old)).status).toBe(200)
    await shiftTo(endMs)
    expect(await refusalOf(await ask(old))).toEqual([401, 'key_expired', null])
    expect((await answered(made)).status).toBe(200)
    await redis.del(keys.clockOffset)
  })

  it('case 6: both count against one quota, which rotation leaves as it was', async () => {
    const project = await bench.newProject()
    const path = `/projects/${project}/rate_limits/rl_${project}`
    await bench.admin.tell(path, { max_requests_per_1_minute: 3 })
    const old = await bench.newKey(project)
    expect(await remainingAfter(old)).toBe('2')
    const redis = bench.redis.connect()
    const before = await redis.hgetall(keys.quota(project))
    const made = await rotate(project, old, {})
    expect(await redis.hgetall(keys.quota(project))).toEqual(before)
    expect(await remainingAfter(made)).toBe('1')
    expect(await remainingAfter(old)).toBe('0')
    for (const key of [old, made])
      expect((await refusalOf(await ask(key))).slice(0, 2)).toEqual([429, 'rate_limit_exceeded'])
  })
})

describe('rotation', () => {
  it('without overlap ends the old key at once', async () => {
    const project = await bench.newProject()
    const old = await bench.newKey(project)
    expect((await answered(old)).status).toBe(200)
    const made = await rotate(project, old, { overlap_seconds: 0 })
    expect(await refusalOf(await ask(old))).toEqual([401, 'key_revoked', null])
    expect((await answered(made)).status).toBe(200)
  })

  it('never lengthens the life of a key, and gives the next one as long a life', async () => {
    const project = await bench.newProject()
    const old = await bench.newKey(project, { expires_in_seconds: 60 })
    const made = await rotate(project, old, { overlap_seconds: 600 })
    const { apiKeys } = bench.admin.organization.projects
    expect(await apiKeys.retrieve(old.id, { project_id: project })).toMatchObject({ expires_at: old['expires_at'] })
    expect(Math.abs((made.expires_at ?? 0) - Number(old['expires_at']))).toBeLessThan(30)
  })

  it('of a key that was replaced before makes no key that ends with the overlap', async () => {
    const project = await bench.newProject()
    const old = await bench.newKey(project)
    await rotate(project, old, { overlap_seconds: 600 })
    expect(await rotate(project, old, { overlap_seconds: 600 })).toMatchObject({ expires_at: null, replaces: old.id })
  })

  it.each([-1, 0.5, 604_801, '60', null])('with an overlap of %j s is refused', async (overlap) => {
    const project = await bench.newProject()
    const { id } = await bench.newKey(project)
    const answer = await bench.admin.send(`/projects/${project}/api_keys/${id}/rotate`, { overlap_seconds: overlap })
    const refusal = await refusalOf(answer)
    expect([refusal[0], refusal[2]]).toEqual([400, 'overlap_seconds'])
  })
})
