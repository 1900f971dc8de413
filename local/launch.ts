/**
 * Everything between `npm start` and the first answer, in order: adapter, Redis, gateway, GPU workers, background
 * workers. It knows who needs what; not how a child is kept alive, nor what any of them does.
 */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { LifecycleFacts } from '../contract/lifecycle.ts'
import { ensureAdapter } from './adapter.ts'
import type { Crew } from './crew.ts'
import { Failure } from './failure.ts'
import { isPortFree, loopback } from './ports.ts'
import type { Detail, Progress } from './progress.ts'
import type { Ready } from './ready.ts'
import { openRedis } from './redis.ts'
import type { Secrets } from './secrets.ts'
import { type Settings, repositoryRoot } from './settings.ts'

export interface Launched {
  readonly ready: Ready
  readonly adapter: string
  readonly toggles: string
  /** What goes where on a GPU worker's GPU, in lines. */
  readonly memory: string
}

/** From the last child's readiness to `/readyz`; both look at the same facts, so this is short. */
const readyzDeadlineMs = 30_000
const readyzPollMs = 50

/** @throws Failure as soon as one part cannot go on; whoever called stops the crew. */
export async function launch(settings: Settings, secrets: Secrets, crew: Crew, progress: Progress): Promise<Launched> {
  requireCheckpoint(settings.modelDir)
  await requirePort(settings.port)
  const [adapter, redis] = await Promise.all([
    progress.step('adapter', ensureAdapter),
    progress.step('redis', (detail) => {
      const startChild = (plan: Parameters<Crew['start']>[0]) => crew.start(plan, detail, { outlivesOthers: true })
      return openRedis({ settings, secrets, environment: process.env, startChild, detail })
    }),
  ])
  if (redis.warning !== undefined) progress.note(redis.warning)

  const environment = childEnvironment(settings, redis.url)
  const start = (name: string, script: string, extra: NodeJS.ProcessEnv, outcome: (facts: LifecycleFacts) => string) =>
    progress.step(name, (detail) =>
      startNode(crew, { name, script, environment: { ...environment, ...extra } }, detail, outcome),
    )
  const edgeSecrets = {
    ...Object.fromEntries(gatewaySecrets.map((name) => [name, process.env[name]])),
    AXLE_PEPPER: secrets.pepper,
    AXLE_TENANT_KEY: secrets.tenantKey,
    AXLE_ADMIN_KEY: secrets.adminKey,
  }
  const gpuWorkers = Array.from({ length: settings.gpuWorkers }, (_, index) => index)
  const [, workers, firstWorker] = await Promise.all([
    start('gateway', 'local/edge.ts', edgeSecrets, () => `port ${settings.port}`),
    start('workers', 'workers/main.ts', {}, () => 'janitor'),
    ...gpuWorkers.map((index) =>
      start(`gpu-worker-${index}`, 'gpu-worker/main.ts', { AXLE_WORKER_ID: `gpu-${process.pid}-${index}` }, gpuOutcome),
    ),
  ])
  const url = `http://${loopback}:${settings.port}`
  await progress.step('readyz', () => untilReady(url))

  const model = fact(firstWorker, 'model') ?? basename(settings.modelDir)
  const { tenantKey: apiKey, adminKey } = secrets
  return {
    ready: {
      url,
      apiKey,
      adminKey,
      model,
      metricsUrl: fact(workers, 'metricsUrl') ?? 'none',
      redisUrl: redis.url,
      pid: process.pid,
    },
    adapter: fact(firstWorker, 'adapter') ?? adapter,
    toggles: fact(firstWorker, 'toggles') ?? 'none',
    memory: fact(firstWorker, 'memory') ?? 'unknown',
  }
}

function requireCheckpoint(modelDir: string): void {
  if (existsSync(join(modelDir, 'config.json'))) return
  throw new Failure(
    `No checkpoint in ${modelDir}: it has no config.json`,
    'Point AXLE_MODEL at a folder with config.json, safetensors and tokenizer files, or unset it for models/axk1-tiny.',
  )
}

async function requirePort(port: number): Promise<void> {
  if (await isPortFree(port)) return
  throw new Failure(
    `Port ${port} on ${loopback} is taken by another process, or not allowed for this user`,
    `Choose another: AXLE_PORT=${port === 65_535 ? 8787 : port + 1} npm start`,
  )
}

/** Secrets that whoever starts us may set. */
const gatewaySecrets = ['AXLE_BOOTSTRAP_SECRET', 'AXLE_PEPPER_PREVIOUS']

/** What every child reads; secrets go only to the one that needs them. */
function childEnvironment(settings: Settings, redisUrl: string): NodeJS.ProcessEnv {
  const given = Object.entries(process.env).filter(([name]) => !gatewaySecrets.includes(name))
  return {
    // All stop together: nobody would finish what is handed back, and whoever pressed Ctrl-C waits.
    AXLE_DRAIN_SECONDS: '0',
    ...Object.fromEntries(given),
    AXLE_ENV: 'local',
    AXLE_DATA_DIR: settings.dataDir,
    AXLE_PORT: String(settings.port),
    AXLE_MODEL: settings.modelDir,
    AXLE_LANES: String(settings.lanes),
    AXLE_BROKER_SHARDS: String(settings.brokerShards),
    AXLE_CRON_SECONDS: String(settings.cronSeconds),
    AXLE_METRICS_PORT: String(settings.metricsPort),
    ...(settings.slots === undefined ? {} : { AXLE_SLOTS: String(settings.slots) }),
    REDIS_URL: redisUrl,
  }
}

interface NodeChild {
  readonly name: string
  readonly script: string
  readonly environment: NodeJS.ProcessEnv
}

async function startNode(
  crew: Crew,
  { name, script, environment }: NodeChild,
  detail: Detail,
  outcome: (facts: LifecycleFacts) => string,
): Promise<{ result: LifecycleFacts; outcome: string }> {
  const args = [join(repositoryRoot, script)]
  const child = crew.start({ name, command: process.execPath, args, environment, readiness: { kind: 'told' } }, detail)
  const facts = await child.ready
  return { result: facts, outcome: outcome(facts) }
}

function gpuOutcome(facts: LifecycleFacts): string {
  return `${fact(facts, 'model') ?? 'the model'} has generated a token`
}

/** @throws Failure when the gateway does not see, within the deadline, what the GPU worker has told us. */
async function untilReady(url: string): Promise<{ result: void; outcome: string }> {
  const signal = AbortSignal.timeout(readyzDeadlineMs)
  let last = 'no answer'
  while (!signal.aborted) {
    try {
      const response = await fetch(`${url}/readyz`, { signal })
      await response.body?.cancel()
      if (response.status === 200) return { result: undefined, outcome: `${url} answers` }
      last = `HTTP ${response.status}`
    } catch (error) {
      last = error instanceof Error ? error.message : String(error)
    }
    await delay(readyzPollMs)
  }
  throw new Failure(`${url}/readyz does not get ready (${last})`, 'The logs in the data directory tell more.')
}

function fact(facts: LifecycleFacts | undefined, name: string): string | undefined {
  const value = facts?.[name]
  return value === undefined || value === '' ? undefined : String(value)
}
