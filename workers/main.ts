/**
 * The workers process: the janitor, and metrics. Started by the launcher or a container; stops on SIGTERM or with its
 * launcher.
 *
 * It does not know who started it or what any job is about.
 */
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { z } from 'zod'
import { onLauncherGone, tellLauncher } from '../contract/lifecycle.ts'
import { openLog } from '../contract/process-log.ts'
import { evictingPolicy, evictionMessage, evictionWayOut } from '../contract/redis-eviction.ts'
import { readScriptSources } from '../contract/script-files.ts'
import { JobScripts } from '../contract/scripts.ts'
import { CellReader } from './cell-reading.ts'
import { renderMetrics } from './exposition.ts'
import { Janitor } from './janitor.ts'
import { metricsOf } from './metrics.ts'
import { type MetricsAddress, MetricsServer } from './metrics-server.ts'
import { parseSettings, type WorkersSettings } from './settings.ts'

const connectDeadlineMs = 5_000
/** A socket that owes a reply for this long is dead, and another is opened. */
const socketTimeoutMs = 5_000
const reconnectMs = 100
const reconnectMsMax = 500
const stopGraceMs = 4_000
/** A scrape says by then what it knows: Prometheus gives up after 10 s. */
const scrapeDeadlineMs = 1_000
const log = openLog('workers')

function settingsOrExit(): WorkersSettings | null {
  try {
    return parseSettings(process.env)
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error)
    void die(
      `Settings are wrong: ${reason}`,
      'Set REDIS_URL to a redis:// or rediss:// URL, AXLE_LANES to a number and AXLE_METRICS_PORT to a port.',
    )
    return null
  }
}

async function die(message: string, wayOut: string): Promise<never> {
  log.fatal({ wayOut }, message)
  await tellLauncher({ kind: 'fatal', message, wayOut })
  process.exit(1)
}

async function run({ redisUrl, laneCount, metrics: address }: WorkersSettings): Promise<void> {
  const redis = new Redis(redisUrl, {
    maxRetriesPerRequest: null,
    socketTimeout: socketTimeoutMs,
    // A primary that became a replica: look for the new one, and ask it.
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    retryStrategy: (attempt) => Math.min(attempt * reconnectMs, reconnectMsMax),
  })
  let isUp = true
  redis.on('error', (error: Error) => {
    if (isUp) log.warn({ reason: error.message }, 'lost Redis')
    isUp = false
  })
  redis.on('ready', () => {
    isUp = true
  })
  const isConnected = await Promise.race([
    redis.ping().then(() => true),
    delay(connectDeadlineMs, false, { ref: false }),
  ])
  if (!isConnected) return die('Redis does not answer', 'Start Redis, or point REDIS_URL at one that runs.')
  const policy = evictingPolicy(await redis.info())
  if (policy !== null) return die(evictionMessage(policy), evictionWayOut)

  const metrics = await serveMetrics(redis, address)
  const janitor = new Janitor({ redis, scripts: new JobScripts(redis, readScriptSources()), laneCount, log })
  let isStopping = false
  const stop = async () => {
    if (isStopping) return
    isStopping = true
    metrics.stop()
    await Promise.race([janitor.stop().catch(() => undefined), delay(stopGraceMs)])
    redis.disconnect()
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop())
  onLauncherGone(() => void stop())

  await janitor.start()
  await tellLauncher({ kind: 'ready', facts: { lanes: laneCount, metricsUrl: metrics.url } })
  log.info({ laneCount, metricsUrl: metrics.url }, 'ready')
}

async function serveMetrics(redis: Redis, address: MetricsAddress): Promise<MetricsServer> {
  const reader = new CellReader(redis, scrapeDeadlineMs, log)
  try {
    return await MetricsServer.start(address, async () => renderMetrics(metricsOf(await reader.read())))
  } catch (error) {
    const { host, port } = address
    const reason = error instanceof Error ? error.message : String(error)
    return die(
      `Cannot serve metrics at ${host}:${port}: ${reason}`,
      'Choose another AXLE_METRICS_HOST or AXLE_METRICS_PORT; port 0 takes any that is free.',
    )
  }
}

const settings = settingsOrExit()
if (settings !== null) await run(settings)
