/**
 * What the deployment gives the Worker, and the settings read from it once.
 *
 * What the values may be stands in `settings.ts`; it does not know who uses them.
 */
import { parseSettings, type Settings } from './settings.ts'

export interface Env {
  readonly DB: D1Database
  readonly BROKER: DurableObjectNamespace
  readonly REDIS_URL?: string
  readonly AXLE_ENV?: string
  readonly AXLE_PEPPER?: string
  readonly AXLE_PEPPER_ID?: string
  readonly AXLE_LANES?: string
  readonly AXLE_BROKER_SHARDS?: string
}

const known = new WeakMap<Env, Settings>()

/** @throws SettingsError when a value is missing, weak or out of bounds. */
export function readSettings(env: Env): Settings {
  const earlier = known.get(env)
  if (earlier !== undefined) return earlier
  const read = parseSettings(env)
  known.set(env, read)
  return read
}
