/** What a scrape of the workers process shows, over HTTP, of a cell on a real Redis. */
import process from 'node:process'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { answerCounts, firstTokenCounts } from '../../contract/gateway-counters.ts'
import { keys } from '../../contract/keys.ts'
import { CellReader } from '../../workers/cell-reading.ts'
import { renderMetrics } from '../../workers/exposition.ts'
import { metricsOf } from '../../workers/metrics.ts'
import { MetricsServer } from '../../workers/metrics-server.ts'
import { parseExposition } from '../fixtures/exposition.ts'
import { admitted, claimed, ending, scriptBench, token } from '../fixtures/script-bench.ts'
import { announce } from '../fixtures/scripted-worker.ts'

const scrapeDeadlineMs = 1_000
const bench = scriptBench()
let server: MetricsServer

beforeEach(async () => {
  const reader = new CellReader(bench.redis, scrapeDeadlineMs, pino({ level: 'silent' }))
  const render = async () => renderMetrics(metricsOf(await reader.read()))
  server = await MetricsServer.start({ host: '127.0.0.1', port: 0 }, render)
})
afterEach(() => server.stop())

/** Every sample by its line's name. */
async function scrape(): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(server.url)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const families = parseExposition(await response.text())
  const all = new Map<string, number>()
  for (const { samples } of families.values()) for (const [series, value] of samples) all.set(series, value)
  return all
}

describe('/metrics', () => {
  it('of an empty cell is whole, and counts nothing', async () => {
    const samples = await scrape()
    expect(samples.get('redis_up')).toBe(1)
    const counted = [...samples].filter(([name, value]) => value !== 0 && name !== 'redis_up')
    expect(counted).toEqual([])
  })

  it('tells what is open, queued by tier, claimed and ended', async () => {
    await admitted(bench, { tier: 'flex' })
    const jobId = await claimed(bench)
    const before = await scrape()
    expect(before.get('queue_open_jobs')).toBe(2)
    expect(before.get('queue_depth{tier="flex"}')).toBe(1)
    expect(before.get('queue_depth{tier="default"}')).toBe(0)
    expect(before.get('queue_lane_load{lane="0"}')).toBe(2)
    expect(before.get('queue_wait_seconds_count')).toBe(1)
    await bench.scripts.append(jobId, 1, 1, { kind: 'start', epoch: 1, fingerprint: 'f', promptTokens: 11 })
    await bench.scripts.append(jobId, 1, 2, token(0, 'reasoning'))
    await bench.scripts.append(jobId, 1, 3, token(1))
    await bench.scripts.finish(jobId, 1, { ...ending, cachedTokens: 5 })
    const after = await scrape()
    expect(after.get('queue_open_jobs')).toBe(1)
    expect(after.get('queue_jobs_admitted_total{tier="default"}')).toBe(1)
    expect(after.get('queue_jobs_ended_total{status="completed"}')).toBe(1)
    expect(after.get('queue_undrained_usage_rows')).toBe(1)
    const kinds = ['input', 'cached', 'output', 'reasoning']
    expect(kinds.map((kind) => after.get(`gateway_tokens_total{kind="${kind}"}`))).toEqual([11, 5, 2, 1])
  })

  it('tells how long the oldest open job is there, by the clock of Redis', async () => {
    await admitted(bench)
    await bench.redis.set(keys.clockOffset, 90_000)
    const ageSeconds = (await scrape()).get('queue_oldest_job_age_seconds') ?? 0
    expect(ageSeconds).toBeGreaterThanOrEqual(90)
    expect(ageSeconds).toBeLessThan(95)
  })

  it('tells what the gateways counted, by route, status and code', async () => {
    const route = '/v1/organization/projects/:id'
    const counts = [answerCounts(route, 200, 3, null), answerCounts(route, 404, 30, 'not_found'), firstTokenCounts(1e7)]
    for (const [field, added] of counts.flatMap(Object.entries))
      await bench.redis.hincrby(keys.gateway, field, Number(added))
    const samples = await scrape()
    expect(samples.get(`gateway_requests_total{route="${route}",status="200"}`)).toBe(1)
    expect(samples.get(`gateway_requests_total{route="${route}",status="404"}`)).toBe(1)
    expect(samples.get('gateway_refusals_total{code="not_found"}')).toBe(1)
    expect(samples.get(`gateway_request_duration_seconds_bucket{route="${route}",le="0.005"}`)).toBe(1)
    expect(samples.get(`gateway_request_duration_seconds_bucket{route="${route}",le="0.05"}`)).toBe(2)
    expect(samples.get(`gateway_request_duration_seconds_sum{route="${route}"}`)).toBe(0.033)
    expect(samples.get('gateway_ttft_seconds_bucket{le="900"}')).toBe(0)
    expect(samples.get('gateway_ttft_seconds_bucket{le="+Inf"}')).toBe(1)
  })

  it('shows no word that is none of ours', async () => {
    const canary = 'axle_live_canary'
    for (const field of [`refused:${canary} x`, `requests:${canary}:200 `, `durationSumMs:a b`, canary])
      await bench.redis.hset(keys.gateway, field, 1)
    await bench.redis.hset(keys.cell, canary, 1, `queued:${canary}`, 1)
    await announce(bench.redis)
    const text = renderMetrics(metricsOf(await new CellReader(bench.redis, 1_000, pino({ level: 'silent' })).read()))
    expect(text).not.toContain('canary')
    expect(text).not.toContain('a b')
  })

  it("tells each worker's figures under vLLM's names, and forgets a worker that is gone", async () => {
    const histograms = { inter_token_latency_seconds: { bounds: [0.1, 1], counts: [3, 0, 1], sum: 2.5 } }
    const counters = { prompt_tokens: 40, 'request_success:stop': 2, 'request_success:abort': 1, unheard_of: 7 }
    const figures = { counters, histograms }
    await announce(bench.redis, { figures, running: 3, waiting: 2, freeBlocks: 6, blockCount: 8 })
    await announce(bench.redis, { workerId: 'torn', isReady: false })
    await bench.redis.set(keys.worker('torn'), '{"torn":')
    const samples = await scrape()
    const of = 'model_name="axle/test-model",worker="scripted"'
    expect(samples.get(`vllm:num_requests_running{${of}}`)).toBe(3)
    expect(samples.get(`vllm:num_requests_waiting{${of}}`)).toBe(2)
    expect(samples.get(`vllm:kv_cache_usage_perc{${of}}`)).toBe(0.25)
    expect(samples.get(`vllm:prompt_tokens_total{${of}}`)).toBe(40)
    expect(samples.get(`vllm:request_success_total{${of},finished_reason="stop"}`)).toBe(2)
    expect(samples.get(`vllm:request_success_total{${of},finished_reason="abort"}`)).toBe(1)
    expect(samples.get(`vllm:inter_token_latency_seconds_bucket{${of},le="+Inf"}`)).toBe(4)
    expect(samples.get('queue_workers_ready')).toBe(1)
    expect([...samples.keys()].filter((name) => /torn|unheard_of/.test(name))).toEqual([])
    await bench.redis.del(keys.worker('scripted'))
    expect([...(await scrape()).keys()].filter((name) => name.startsWith('vllm:'))).toEqual([])
  })

  it('says within two seconds that Redis is away, frozen or gone, and recovers', async () => {
    const { server: redisServer } = bench
    const pid = redisServer.pid()
    const beganMs = performance.now()
    process.kill(pid, 'SIGSTOP')
    try {
      expect([...(await scrape())]).toEqual([['redis_up', 0]])
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    expect(performance.now() - beganMs).toBeLessThan(2_000)
    expect((await scrape()).get('redis_up')).toBe(1)
    await redisServer.kill()
    expect([...(await scrape())]).toEqual([['redis_up', 0]])
    await redisServer.start()
    await bench.redis.ping()
    expect((await scrape()).get('redis_up')).toBe(1)
  })
})

describe('the server of /metrics', () => {
  it('answers /healthz, and nothing but GET and HEAD of the two', async () => {
    const base = new URL(server.url).origin
    const status = async (path: string, method: string) => (await fetch(base + path, { method })).status
    expect(await status('/healthz', 'GET')).toBe(200)
    expect(await status('/metrics', 'HEAD')).toBe(200)
    expect(await status('/metrics', 'POST')).toBe(405)
    expect(await status('/', 'GET')).toBe(404)
    expect(await status('/metrics/../v1', 'GET')).toBe(404)
  })

  it('says whose address it cannot have', async () => {
    const { port } = new URL(server.url)
    const taken = MetricsServer.start({ host: '127.0.0.1', port: Number(port) }, async () => '')
    await expect(taken).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })
})
