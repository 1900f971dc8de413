/** The workers process: it says when it serves, leaves when told, and says why when it cannot start. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { runToEnd } from '../fixtures/child-process.ts'
import { freePort, startRedis, type TestRedis } from '../fixtures/redis.ts'

const script = 'workers/main.ts'
let server: TestRedis

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

describe('the workers process', () => {
  it('says that it is ready and where its metrics are, and exits 0 on SIGTERM', async () => {
    const scraped = Promise.withResolvers<string>()
    const environment = { REDIS_URL: server.url, AXLE_METRICS_PORT: '0' }
    const { exitCode, messages } = await runToEnd(script, environment, (message, kill) => {
      if (message.kind !== 'ready') return
      scraped.resolve(fetch(String(message.facts['metricsUrl'])).then((response) => response.text()))
      void scraped.promise.finally(() => kill('SIGTERM'))
    })
    const metricsUrl = expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/)
    expect(messages).toEqual([{ kind: 'ready', facts: { lanes: 2, metricsUrl } }])
    expect(await scraped.promise).toContain('\nredis_up 1\n')
    expect(exitCode).toBe(0)
  })

  it('exits 1 with the way out where the address of its metrics is taken', async () => {
    const environment = { REDIS_URL: server.url, AXLE_METRICS_PORT: `${server.port}` }
    const { exitCode, messages } = await runToEnd(script, environment)
    expect(messages).toEqual([
      expect.objectContaining({ kind: 'fatal', wayOut: expect.stringContaining('AXLE_METRICS_PORT') }),
    ])
    expect(exitCode).toBe(1)
  })

  it('exits 1 with the way out where its settings are wrong', async () => {
    const { exitCode, messages } = await runToEnd(script, { REDIS_URL: server.url, AXLE_LANES: '0' })
    expect(messages).toEqual([
      expect.objectContaining({ kind: 'fatal', message: expect.stringContaining('AXLE_LANES') }),
    ])
    expect(exitCode).toBe(1)
  })

  it('case 39: exits 1 with the way out where Redis would evict accepted jobs', async () => {
    const evicting = await startRedis()
    onTestFinished(() => evicting.stop())
    await evicting.connect().config('SET', 'maxmemory-policy', 'volatile-ttl')
    const { exitCode, messages } = await runToEnd(script, { REDIS_URL: evicting.url, AXLE_METRICS_PORT: '0' })
    expect(messages).toEqual([
      {
        kind: 'fatal',
        message: expect.stringContaining('maxmemory-policy volatile-ttl'),
        wayOut: expect.stringContaining('noeviction'),
      },
    ])
    expect(exitCode).toBe(1)
  })

  it('exits 1 with the way out where no Redis answers', async () => {
    const { exitCode, messages } = await runToEnd(script, { REDIS_URL: `redis://127.0.0.1:${await freePort()}` })
    expect(messages).toEqual([expect.objectContaining({ kind: 'fatal', wayOut: expect.stringContaining('REDIS_URL') })])
    expect(exitCode).toBe(1)
  })
})
