/** The control plane without its database: told as such, in time, and back unaided. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { controlPlaneDeadlineMs } from '../../edge/in-time.ts'
import { adminClient, refusalOf, type AdminClient } from '../fixtures/admin-bench.ts'
import { startDatabaseDoor, type DatabaseDoorEdge } from '../fixtures/database-door.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

let redis: TestRedis
let edge: DatabaseDoorEdge
let admin: AdminClient

beforeAll(async () => {
  redis = await startRedis()
  edge = await startDatabaseDoor(redis.url)
  admin = adminClient(edge, edge.adminKey)
}, 60_000)
afterAll(async () => {
  await edge.stop()
  await redis.stop()
})

describe('the Admin API, usage and costs', () => {
  it.each(['failing', 'silent'] as const)('with D1 %s are 503 in time, and serve again unaided', async (door) => {
    expect((await admin.send('/projects')).status).toBe(200)
    await edge.setDatabase(door)
    const startMs = performance.now()
    const usage = ['/usage/completions', '/usage/jobs', '/costs'].map((path) => admin.send(`${path}?start_time=0`))
    const asked = [admin.send('/projects'), admin.send('/projects/tenant-local', { name: 'Local' }), ...usage]
    for (const answer of await Promise.all(asked)) {
      expect([answer.headers.get('x-should-retry'), answer.headers.get('retry-after')]).toEqual(['true', '1'])
      expect(await refusalOf(answer)).toEqual([503, 'control_plane_unavailable', null])
    }
    expect(performance.now() - startMs).toBeLessThan(controlPlaneDeadlineMs + 5_000)
    await edge.setDatabase('open')
    expect((await admin.send('/projects')).status).toBe(200)
  })
})
