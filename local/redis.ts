/**
 * The Redis of this start: the one REDIS_URL names, else a private redis-server or valkey-server with its append-only
 * file in the data directory (installed first where we can), else one in JavaScript that keeps nothing. It does not
 * know what is stored in it.
 */
import { execFile } from 'node:child_process'
import { accessSync, constants, mkdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { evictionMessage, evictionWayOut } from '../contract/redis-eviction.ts'
import { type AptRequest, aptCommands, aptInstall, canInstallWithApt, hasApt, stopPackagedService } from './apt.ts'
import type { Child, ChildPlan } from './child.ts'
import { Failure } from './failure.ts'
import { freePort, loopback } from './ports.ts'
import type { Detail } from './progress.ts'
import { checkRedis, untilRedisAnswers } from './redis-check.ts'
import type { Secrets } from './secrets.ts'
import { type Settings, repositoryRoot } from './settings.ts'

const redisPackage: AptRequest = { packages: ['redis-server'], fromBackports: false }

export interface RedisInUse {
  /** May hold a password. */
  readonly url: string
  /** What a person should know about it. */
  readonly warning?: string
}

export interface RedisOptions {
  readonly settings: Settings
  readonly secrets: Secrets
  readonly environment: NodeJS.ProcessEnv
  readonly startChild: (plan: ChildPlan) => Child
  readonly detail: Detail
}

/** @throws Failure when REDIS_URL does not answer or evicts keys, or the private Redis does not start. */
export async function openRedis(options: RedisOptions): Promise<{ result: RedisInUse; outcome: string }> {
  const { settings, detail } = options
  if (settings.redisUrl !== undefined) return useGivenRedis(settings.redisUrl)
  const found = findServer()
  if (found !== undefined) return startPrivateRedis(found, options)
  const installed = await installServer(detail)
  if (typeof installed === 'string') return startPrivateRedis(installed, options)
  return startFallback(installed, options)
}

/**
 * The path of a real server, installed first if that is possible.
 * @throws Failure saying how to install one
 */
export async function ensureRedisServer(detail: Detail): Promise<string> {
  const path = findServer() ?? (await installServer(detail))
  if (typeof path === 'string') return path
  throw new Failure('There is no redis-server or valkey-server on this machine', path.wayOut)
}

async function useGivenRedis(url: string): Promise<{ result: RedisInUse; outcome: string }> {
  const { version, evictingPolicy } = await checkRedis(url)
  if (evictingPolicy !== null) throw new Failure(evictionMessage(evictingPolicy), evictionWayOut)
  return { result: { url }, outcome: `REDIS_URL${version === undefined ? '' : `, version ${version}`}` }
}

async function startPrivateRedis(
  server: string,
  { settings, secrets, environment, startChild }: RedisOptions,
): Promise<{ result: RedisInUse; outcome: string }> {
  const folder = join(settings.dataDir, 'redis')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const port = await freePort()
  const url = `redis://:${secrets.redisPassword}@${loopback}:${port}`
  const child = startChild({
    name: 'redis',
    command: server,
    args: [join(repositoryRoot, 'infra', 'redis.conf'), '-'],
    environment,
    input: `port ${port}\ndir ${JSON.stringify(folder)}\nrequirepass ${secrets.redisPassword}\n`,
    readiness: { kind: 'asked', ask: (signal) => untilRedisAnswers(url, signal) },
  })
  await child.ready
  return { result: { url }, outcome: `${await serverVersion(server)} on port ${port}, data in ${folder}` }
}

async function startFallback(
  missing: NoServer,
  { environment, startChild }: RedisOptions,
): Promise<{ result: RedisInUse; outcome: string }> {
  const port = await freePort()
  const child = startChild({
    name: 'redis',
    command: process.execPath,
    args: [join(import.meta.dirname, 'redis-fallback.ts'), String(port)],
    environment,
    readiness: { kind: 'told' },
  })
  await child.ready
  const warning = `No Redis on this machine: using one in JavaScript. It is slow, and NOTHING IS KEPT when it stops.\n${missing.wayOut}`
  return { result: { url: `redis://${loopback}:${port}`, warning }, outcome: `js-redis-server on port ${port}` }
}

interface NoServer {
  readonly wayOut: string
}

/** Not having a real Redis is no reason to stop, so a failed installation only changes the advice. */
async function installServer(detail: Detail): Promise<string | NoServer> {
  if (canInstallWithApt()) {
    try {
      await aptInstall(redisPackage, detail)
      await stopPackagedService('redis-server.service')
    } catch (error) {
      return { wayOut: failureText(error) }
    }
  }
  return findServer() ?? { wayOut: `For a real one: ${installHint()}` }
}

function failureText(error: unknown): string {
  if (error instanceof Failure) return `${error.message}\n${error.wayOut}`
  return error instanceof Error ? error.message : String(error)
}

function installHint(): string {
  if (process.platform === 'darwin') return 'brew install redis'
  if (hasApt()) return aptCommands(redisPackage)
  return 'install redis-server or valkey-server with the package manager of this system'
}

function findServer(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin', '/opt/homebrew/bin']
  return ['redis-server', 'valkey-server']
    .flatMap((name) => folders.filter((folder) => folder !== '').map((folder) => join(folder, name)))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // not there, or not for us: the next candidate
  }
}

/** `Redis server v=7.0.15 sha=…` → `redis-server 7.0.15` */
async function serverVersion(server: string): Promise<string> {
  const { stdout } = await promisify(execFile)(server, ['--version'])
  const name = server.endsWith('valkey-server') ? 'valkey-server' : 'redis-server'
  return `${name} ${/v=(\S+)/.exec(stdout)?.[1] ?? ''}`.trimEnd()
}
