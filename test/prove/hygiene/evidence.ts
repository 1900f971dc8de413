/**
 * Everything the product leaves behind or shows to an operator, as bytes: files, command lines, metrics, Redis.
 *
 * It reads and judges nothing.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { keys } from '../../../contract/keys.ts'
import type { Evidence } from './canaries.ts'

/** The two private files of a data directory that exist to hold its keys. */
const keyFiles = ['secrets.json', 'ready.json']

/** Logs, D1 and Durable Objects with their journals, bundles, records of processes. */
export async function filesOf(dataDir: string): Promise<Evidence[]> {
  const entries = await readdir(dataDir, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const evidence = paths
    .filter((path) => !keyFiles.some((name) => path === join(dataDir, name)))
    .map(async (path) => ({ place: path.slice(dataDir.length + 1), bytes: await readFile(path) }))
  return Promise.all(evidence)
}

/** What `ps` shows to every user of the machine. */
export async function commandLinesOf(pids: readonly number[]): Promise<Evidence[]> {
  const lines = pids.map(async (pid) => ({
    place: `command line of ${pid}`,
    bytes: await readFile(`/proc/${pid}/cmdline`).catch(() => Buffer.alloc(0)),
  }))
  return Promise.all(lines)
}

export async function metricsOf(url: string): Promise<Evidence> {
  return { place: '/metrics', bytes: Buffer.from(await (await fetch(url)).arrayBuffer()) }
}

/** Names of all keys. */
export async function keyNamesOf(redis: Redis): Promise<string[]> {
  const names = new Set<string>()
  for (let cursor = '0'; ;) {
    const [next, page] = await redis.scan(cursor, 'COUNT', 1_000)
    for (const name of page) names.add(name)
    if (next === '0') return [...names].sort()
    cursor = next
  }
}

/**
 * Names and values. `isValueRead` leaves out the values of keys that are to hold a prompt: records of open jobs.
 */
export async function redisContents(redis: Redis, isValueRead: (name: string) => boolean): Promise<Evidence[]> {
  const evidence: Evidence[] = []
  for (const name of await keyNamesOf(redis)) {
    evidence.push({ place: `name of a key in Redis (${family(name)})`, bytes: Buffer.from(name) })
    if (isValueRead(name)) evidence.push({ place: `Redis ${family(name)}`, bytes: await valueOf(redis, name) })
  }
  return evidence
}

/** What a key is for, without what tells it from others. */
function family(name: string): string {
  return name.startsWith(keys.unreadableUsage) ? name : name.split(':').slice(0, 2).join(':')
}

async function valueOf(redis: Redis, name: string): Promise<Buffer> {
  const value = await readValue(redis, name, await redis.type(name))
  return Buffer.from(JSON.stringify(value))
}

async function readValue(redis: Redis, name: string, type: string): Promise<unknown> {
  switch (type) {
    case 'string':
      return redis.get(name)
    case 'hash':
      return redis.hgetall(name)
    case 'list':
      return redis.lrange(name, 0, -1)
    case 'set':
      return redis.smembers(name)
    case 'zset':
      return redis.zrange(name, '0', '-1')
    case 'stream':
      return redis.xrange(name, '-', '+')
    case 'none': // gone since its name was read
      return null
    default:
      throw new TypeError(`Redis has a value of type ${type}`)
  }
}
