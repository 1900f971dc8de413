/** What the worker's links promise through a failover, on a real Redis that becomes a replica and a primary again. */
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openLink, untilAnswered } from '../../gpu-worker/redis-link.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const silent = pino({ level: 'silent' })
let server: TestRedis

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

describe('openLink()', () => {
  it('leaves a primary that became a replica, and is answered by who is primary then', async () => {
    const admin = server.connect()
    const link = openLink(server.url, { log: silent })
    try {
      const idBefore = await link.client('ID')
      await admin.replicaof('127.0.0.1', '1')
      const isLeft = new Promise((resolve) => link.once('close', resolve))
      const written = untilAnswered(() => link.set('key', 'value'), 10_000)
      await isLeft
      await admin.replicaof('NO', 'ONE')
      expect(await written).toBe('OK')
      expect(await link.client('ID')).toBeGreaterThan(idBefore)
    } finally {
      link.disconnect()
    }
  })
})

describe('untilAnswered()', () => {
  it('passes on at once what repeating would not cure', async () => {
    const redis = server.connect()
    await redis.set('text', 'x')
    await expect(untilAnswered(() => redis.lpush('text', 'y'), 10_000)).rejects.toThrow('WRONGTYPE')
  })
})
