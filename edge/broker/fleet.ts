/**
 * What the deployment serves and how busy its workers are, from the records in Redis, at most a second old.
 *
 * It knows no request. A record it cannot read counts as absent, so that one bad worker hides no good one.
 */
import type { Redis } from 'ioredis'
import { decodeHeartbeat, decodeServedModel, type Heartbeat, type ServedModel } from '../../contract/heartbeat.ts'
import { keys } from '../../contract/keys.ts'
import { logError } from '../log.ts'

export interface FleetState {
  readonly model: ServedModel | null
  /** A live worker has generated a real token. */
  readonly isReady: boolean
  /** Running and waiting requests per slot of the ready workers; infinite without one. */
  readonly load: number
}

export const fleetCacheMs = 1_000

export async function readFleet(redis: Redis): Promise<FleetState> {
  const [servedModel, workerIds] = await Promise.all([redis.get(keys.servedModel), redis.smembers(keys.workers)])
  const records = workerIds.length === 0 ? [] : await redis.mget(workerIds.map((id) => keys.worker(id)))
  const ready = records
    .map((json) => (json === null ? null : readable(json, decodeHeartbeat)))
    .filter((heartbeat): heartbeat is Heartbeat => heartbeat?.isReady === true)
  const slots = ready.reduce((sum, worker) => sum + worker.slots, 0)
  const requests = ready.reduce((sum, worker) => sum + worker.running + worker.waiting, 0)
  return {
    model: servedModel === null ? null : readable(servedModel, decodeServedModel),
    isReady: ready.length > 0,
    load: slots === 0 ? Number.POSITIVE_INFINITY : requests / slots,
  }
}

function readable<T>(json: string, decode: (json: string) => T): T | null {
  try {
    return decode(json)
  } catch (error) {
    logError('fleet-record-unreadable', error)
    return null
  }
}
