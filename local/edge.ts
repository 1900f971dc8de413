/**
 * The gateway's process under `npm start`: reads its environment, serves, and tells the launcher how it goes.
 *
 * It ends with its launcher, on SIGTERM and on SIGINT. It knows nothing of the other processes but Redis' address.
 */
import { createServer } from 'node:net'
import { join } from 'node:path'
import { z } from 'zod'
import { onLauncherGone, tellLauncher } from '../contract/lifecycle.ts'
import { SettingsError } from '../edge/settings.ts'
import { startCron } from './cron.ts'
import { startEdge, type EdgeServer } from './edge-server.ts'

const environment = z.object({
  REDIS_URL: z.string(),
  AXLE_ENV: z.enum(['local', 'production']).default('local'),
  AXLE_DATA_DIR: z.string().min(1),
  AXLE_PORT: z.coerce.number().int().min(1).max(65_535),
  AXLE_PEPPER: z.string(),
  AXLE_TENANT_KEY: z.string(),
  AXLE_ADMIN_KEY: z.string(),
  AXLE_LANES: z.coerce.number().int().default(2),
  AXLE_BROKER_SHARDS: z.coerce.number().int().default(1),
  AXLE_CRON_SECONDS: z.coerce.number().int().min(0).default(60),
})

let server: EdgeServer | null = null
let stopCron = (): void => undefined
let isStopping = false

async function main(): Promise<void> {
  listenToSignals()
  onLauncherGone(() => void stop())

  const parsed = environment.safeParse(process.env)
  if (!parsed.success) {
    const names = parsed.error.issues.map((issue) => issue.path.join('.')).join(', ')
    return fail(`The gateway lacks settings: ${names}.`, 'Start it with `npm start`, which sets them.')
  }
  const settings = parsed.data
  if (!(await isFree(settings.AXLE_PORT))) {
    return fail(
      `Port ${settings.AXLE_PORT} on 127.0.0.1 is taken.`,
      'End the program that listens there, or choose another port: AXLE_PORT=8788 npm start',
    )
  }
  await tellLauncher({ kind: 'progress', step: 'bundling and starting workerd' })
  const edgeFolder = join(settings.AXLE_DATA_DIR, 'edge')
  try {
    server = await startEdge({
      port: settings.AXLE_PORT,
      redisUrl: settings.REDIS_URL,
      environment: settings.AXLE_ENV,
      pepper: settings.AXLE_PEPPER,
      settings: givenSettings(process.env),
      tenantKey: settings.AXLE_TENANT_KEY,
      adminKey: settings.AXLE_ADMIN_KEY,
      laneCount: settings.AXLE_LANES,
      shardCount: settings.AXLE_BROKER_SHARDS,
      bundleFolder: join(edgeFolder, 'bundle'),
      stateFolder: join(edgeFolder, 'state'),
      onLog: (line) => process.stderr.write(`${line}\n`),
    })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const wayOut =
      error instanceof SettingsError
        ? 'Correct or unset what it names; `openssl rand -base64 32` makes a secret.'
        : 'If its data is damaged, move the folder `edge` out of the data directory.'
    return fail(`The gateway could not start: ${reason}`, wayOut)
  }
  listenToSignals()
  // A stop that came while starting has found no server to stop.
  if (isStopping) return stop()
  stopCron = startCron(server, settings.AXLE_CRON_SECONDS, (error) => {
    process.stderr.write(`${JSON.stringify({ level: 'error', event: 'cron-failed', message: String(error) })}\n`)
  })
  await tellLauncher({ kind: 'ready', facts: { url: server.url } })
}

/** What the Worker reads itself and a launcher may leave out. */
function givenSettings(given: NodeJS.ProcessEnv): Record<string, string> {
  const names = ['AXLE_BOOTSTRAP_SECRET', 'AXLE_PEPPER_ID', 'AXLE_PEPPER_PREVIOUS', 'AXLE_PEPPER_PREVIOUS_ID']
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = given[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

/** Miniflare's own listeners end the process before workerd is down, and with another code: ours are the only ones. */
function listenToSignals(): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.removeAllListeners(signal)
    process.on(signal, () => void stop())
  }
}

async function stop(): Promise<void> {
  isStopping = true
  stopCron()
  await server?.stop()
  process.exit(0)
}

async function fail(message: string, wayOut: string): Promise<void> {
  if (!isStopping) {
    process.stderr.write(`${message}\n${wayOut}\n`)
    await tellLauncher({ kind: 'fatal', message, wayOut })
  }
  process.exit(1)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

await main()
