/** What the deployment gives the Worker: bindings, and values that are read once. It knows no bound of a value. */
import { parseSettings, type Settings } from './settings.ts'

export interface Env {
  readonly DB: D1Database
  readonly BROKER: DurableObjectNamespace
  readonly REDIS_URL?: string
  readonly AXLE_ENV?: string
  readonly AXLE_PEPPER?: string
  readonly AXLE_PEPPER_ID?: string
  readonly AXLE_PEPPER_PREVIOUS?: string
  readonly AXLE_PEPPER_PREVIOUS_ID?: string
  readonly AXLE_BOOTSTRAP_SECRET?: string
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
