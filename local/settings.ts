/**
 * Everything a person can set for `npm start`, read from the environment once and checked. It knows what a valid value
 * looks like, not whether a port is free or a checkpoint loads.
 */
import { resolve } from 'node:path'
import { Failure } from './failure.ts'

export interface Settings {
  readonly port: number
  /** Absolute. */
  readonly dataDir: string
  /** Absolute folder of a checkpoint. */
  readonly modelDir: string
  readonly gpuWorkers: number
  readonly lanes: number
  readonly brokerShards: number
  /** Sequences one GPU worker runs at once; undefined leaves it to the worker. */
  readonly slots: number | undefined
  /** Between two ticks of the gateway's cron, which drains usage; 0: it never ticks by itself. */
  readonly cronSeconds: number
  /** Of `/metrics` on loopback; 0: any free one. */
  readonly metricsPort: number
  /** undefined: the launcher brings its own Redis. */
  readonly redisUrl: string | undefined
}

export const repositoryRoot = resolve(import.meta.dirname, '..')

export const settingsHelp = `npm start — serve A.X K1, or a checkpoint of its shape, on this machine

Environment:
  AXLE_PORT           port of the API on 127.0.0.1 (8787)
  AXLE_DATA_DIR       where keys, Redis data, D1, logs and ready.json live (.axle)
  AXLE_MODEL          folder of the checkpoint to serve (models/axk1-tiny)
  AXLE_GPU_WORKERS    number of GPU worker processes (1)
  AXLE_SLOTS          sequences one GPU worker runs at once (the worker's own default)
  AXLE_PROFILE        exact; kv16: a cache of 16 bits, half the memory a token; matrix: for GPUs' matrix units (exact)
  AXLE_GPU_BYTES      what one GPU worker may take of its GPU, as 75161927680, 70GiB or 900MB (weights and 256 MiB of cache)
  AXLE_KV_BYTES       of that, what the cache may take
  AXLE_EXPERT_SLOTS   of a layer's routed experts so many lie on the GPU, as 96 or 50%; the others wait in host memory (all)
  AXLE_LANES          queues that requests are spread over (2)
  AXLE_BROKER_SHARDS  Broker Durable Objects, each with one Redis connection (1)
  AXLE_CRON_SECONDS   between two moves of usage from Redis to D1; 0: never (60)
  AXLE_METRICS_PORT   port of Prometheus' /metrics on 127.0.0.1 (any free one; ready.json has its URL)
  AXLE_BOOTSTRAP_SECRET  32 characters or more: npm run axle -- bootstrap makes one admin key of it (none)
  REDIS_URL           use this Redis (redis:// or rediss://) in place of a private one in the data directory

Stop with Ctrl-C or SIGTERM. Two copies run side by side with another AXLE_PORT and AXLE_DATA_DIR.
Logs of every process: <data directory>/logs/.`

/** @throws Failure naming the variable, what it may be and what it was. */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  requireLocal(text(environment, 'AXLE_ENV'))
  return {
    port: integer(environment, 'AXLE_PORT', 1, 65_535) ?? 8787,
    dataDir: dataDirectory(environment),
    modelDir: folder(environment, 'AXLE_MODEL', 'models/axk1-tiny'),
    gpuWorkers: integer(environment, 'AXLE_GPU_WORKERS', 1, 64) ?? 1,
    lanes: integer(environment, 'AXLE_LANES', 1, 1024) ?? 2,
    brokerShards: integer(environment, 'AXLE_BROKER_SHARDS', 1, 256) ?? 1,
    slots: integer(environment, 'AXLE_SLOTS', 1, 4096),
    cronSeconds: integer(environment, 'AXLE_CRON_SECONDS', 0, 86_400) ?? 60,
    metricsPort: integer(environment, 'AXLE_METRICS_PORT', 0, 65_535) ?? 0,
    redisUrl: redisUrl(text(environment, 'REDIS_URL')),
  }
}

/** Absolute; whether anything runs in it is not known here. */
export function dataDirectory(environment: NodeJS.ProcessEnv): string {
  return folder(environment, 'AXLE_DATA_DIR', '.axle')
}

/** npm runs scripts in the repository root and remembers where the person stood; relative paths mean that place. */
function folder(environment: NodeJS.ProcessEnv, name: string, fallback: string): string {
  const value = text(environment, name)
  if (value === undefined) return resolve(repositoryRoot, fallback)
  return resolve(environment['INIT_CWD'] ?? process.cwd(), value)
}

function text(environment: NodeJS.ProcessEnv, name: string): string | undefined {
  const value = environment[name]?.trim()
  return value === '' ? undefined : value
}

function integer(environment: NodeJS.ProcessEnv, name: string, min: number, max: number): number | undefined {
  const value = text(environment, name)
  if (value === undefined) return undefined
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
  if (number >= min && number <= max) return number
  throw new Failure(`${name} must be a whole number from ${min} to ${max}, got '${value}'`, `Change or unset ${name}.`)
}

function requireLocal(value: string | undefined): void {
  if (value === undefined || value === 'local') return
  throw new Failure(
    `npm start runs the local mode only, but AXLE_ENV is '${value}'`,
    'Unset AXLE_ENV. It makes its own keys and keeps them in the data directory: not for production.',
  )
}

/** The value may hold a password, so the message never repeats it. */
function redisUrl(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  const protocol = URL.canParse(value) ? new URL(value).protocol : ''
  if (protocol === 'redis:' || protocol === 'rediss:') return value
  throw new Failure(
    'REDIS_URL is not a Redis URL',
    'Give it as redis://[user:password@]host:port[/database], or unset it to use a private Redis.',
  )
}
