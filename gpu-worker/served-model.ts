/** Tells the deployment which model it serves; every worker of it says the same. */
import type { Redis } from 'ioredis'
import { decodeServedModel, type ServedModel } from '../contract/heartbeat.ts'
import { keys } from '../contract/keys.ts'

/** `created` is kept from the model's first serving on. */
export async function announceModel(redis: Redis, model: Omit<ServedModel, 'created'>, nowMs: number): Promise<void> {
  const before = await redis.get(keys.servedModel)
  const known = before === null ? null : decodeServedModel(before)
  const created = known?.id === model.id ? known.created : Math.floor(nowMs / 1_000)
  await redis.set(keys.servedModel, JSON.stringify({ ...model, created } satisfies ServedModel))
}
