/**
 * The gateway in workerd on this machine: Miniflare with the bundle, D1 and Durable Objects on disk, migrations
 * applied, this machine's tenant and keys in place.
 *
 * It knows neither environment variables nor a launcher.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare, type V4ModuleDefinition } from 'miniflare'
import { parseKey } from '../contract/key-format.ts'
import { keyDigest } from '../edge/auth/digest.ts'
import { tenantScopes } from '../edge/auth/scopes.ts'
import { parseSettings } from '../edge/settings.ts'
import { bundleEdge, entryName } from './edge-bundle.ts'
import { migrate } from './migrations.ts'

export interface EdgeOptions {
  readonly port: number
  readonly redisUrl: string
  readonly environment: 'local' | 'production'
  readonly pepper: string
  /** Further settings of the Worker, by name; those named here besides win. */
  readonly settings?: Readonly<Record<string, string>>
  readonly tenantKey: string
  readonly adminKey: string
  readonly laneCount: number
  readonly shardCount: number
  readonly bundleFolder: string
  /** Where D1 and Durable Objects live; null = nowhere, gone with the process. */
  readonly stateFolder: string | null
  readonly onLog: (line: string) => void
}

export interface EdgeServer {
  readonly url: string
  readonly database: LocalDatabase
  /** What Cloudflare's cron fires every minute. Rejects when it failed. */
  readonly scheduled: () => Promise<void>
  readonly stop: () => Promise<void>
}

export type LocalDatabase = Awaited<ReturnType<Miniflare['getD1Database']>>

/** As wrangler.toml has it, which would take a second to read; a test holds the two together. */
export const compatibility = {
  date: '2026-07-01',
  flags: ['nodejs_compat', 'enable_request_signal', 'request_signal_passthrough'],
}
const workerName = 'axle-edge'
const usualPepperId = 'p1'
export const localTenantId = 'tenant-local'
/** Generous: who measures this machine is not held back, and rate headers still show. No budget. */
const localLimits = {
  columns:
    'requests_per_minute, tokens_per_minute, concurrent_requests_max, queued_jobs_max, queued_tokens_max, weight_milli, tiers',
  values: `100000, 100000000, 5000, 10000, 100000000, 1000, '["priority","default","flex"]'`,
}

/** @throws SettingsError where the Worker would refuse every request. */
export async function startEdge(options: EdgeOptions): Promise<EdgeServer> {
  const bindings = {
    AXLE_PEPPER_ID: usualPepperId,
    ...options.settings,
    REDIS_URL: options.redisUrl,
    AXLE_ENV: options.environment,
    AXLE_PEPPER: options.pepper,
    AXLE_LANES: `${options.laneCount}`,
    AXLE_BROKER_SHARDS: `${options.shardCount}`,
  }
  const { pepperId } = parseSettings(bindings)
  const bundle = await bundleEdge(options.bundleFolder)
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: '127.0.0.1',
      port: 0,
      cf: false,
      telemetry: { enabled: false },
      logRequests: false,
      log: new Log(LogLevel.ERROR),
      handleStructuredLogs: ({ message }) => options.onLog(message),
      ...(options.stateFolder === null ? {} : { resourcePersistencePath: options.stateFolder }),
      workers: [
        {
          name: workerName,
          modulesRoot: bundle,
          modules: await modulesOf(bundle),
          compatibilityDate: compatibility.date,
          compatibilityFlags: compatibility.flags,
          // Straight to the Worker: Miniflare's own front door costs a hop a request.
          unsafeDirectSockets: [{ host: '127.0.0.1', port: options.port }],
          d1Databases: { DB: 'axle' },
          durableObjects: { BROKER: { className: 'Broker', useSQLite: true } },
          bindings,
        },
      ],
    }),
  )
  try {
    await miniflare.ready
    const database = await miniflare.getD1Database('DB')
    await migrate(database)
    await registerKeys(database, options, pepperId)
    const url = await miniflare.unsafeGetDirectURL()
    const scheduled = async (): Promise<void> => {
      const { outcome } = await (await miniflare.getWorker(workerName)).scheduled({ cron: '* * * * *' })
      if (outcome !== 'ok') throw new Error(`The scheduled duties ended with ${outcome}`)
    }
    return { url: url.origin, database, scheduled, stop: () => miniflare.dispose() }
  } catch (error) {
    await miniflare.dispose()
    throw error
  }
}

/** The first module is the entry. */
async function modulesOf(bundle: string): Promise<V4ModuleDefinition[]> {
  const names = await readdir(bundle)
  const modules = (type: 'ESModule' | 'Text', extension: string) =>
    names
      .filter((name) => name.endsWith(extension) && name !== entryName)
      .map((name) => ({ type, path: join(bundle, name) }))
  return [
    { type: 'ESModule', path: join(bundle, entryName) },
    ...modules('ESModule', '.js'),
    ...modules('Text', '.lua'),
  ]
}

async function registerKeys(database: LocalDatabase, options: EdgeOptions, pepperId: string): Promise<void> {
  const nowMs = Date.now()
  const upsertKey = (key: string, tenantId: string | null, name: string, scopes: readonly string[]) => {
    const parsed = parseKey(key)
    if (parsed === null) throw new TypeError(`The ${name} is not a key of the documented format`)
    return database
      .prepare(
        `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET
           digest = excluded.digest, pepper_id = excluded.pepper_id, scopes = excluded.scopes`,
      )
      .bind(
        parsed.id,
        tenantId,
        parsed.kind,
        name,
        keyDigest(key, options.pepper),
        pepperId,
        JSON.stringify(scopes),
        nowMs,
      )
  }
  await database.batch([
    database
      .prepare(
        `INSERT INTO tenants (id, name, created_at_ms, ${localLimits.columns}) VALUES (?, ?, ?, ${localLimits.values})
         ON CONFLICT (id) DO UPDATE SET (${localLimits.columns}) = (${localLimits.values})`,
      )
      .bind(localTenantId, 'Local', nowMs),
    upsertKey(options.tenantKey, localTenantId, 'local tenant key', tenantScopes),
    upsertKey(options.adminKey, null, 'local admin key', ['admin']),
  ])
}
