/**
 * What a GPU worker says of itself every second, and what the deployment serves.
 *
 * Read by the Broker (lane choice, readiness, models) and by metrics; it knows nothing of either.
 */
import { z } from 'zod'

const servedModel = z.object({
  id: z.string(),
  aliases: z.array(z.string()),
  contextTokens: z.int().positive(),
  /** Unix seconds of the checkpoint's first serving. */
  created: z.int().nonnegative(),
})
/** The one model of this deployment. */
export type ServedModel = z.infer<typeof servedModel>

const figures = z.object({
  counters: z.record(z.string(), z.number()),
  /** Counts stand by bucket, one more than bounds: the last is of what exceeds them all. Not cumulative. */
  histograms: z.record(
    z.string(),
    z.object({ bounds: z.array(z.number()), counts: z.array(z.int()), sum: z.number() }),
  ),
})
/** What a worker counted since its process began, by name. */
export type Figures = z.infer<typeof figures>

const heartbeat = z.object({
  workerId: z.string(),
  pid: z.int(),
  model: z.string(),
  fingerprint: z.string(),
  adapter: z.string(),
  contextTokens: z.int(),
  slots: z.int(),
  lanes: z.array(z.int()),
  running: z.int(),
  waiting: z.int(),
  /** KV blocks that can be had: free ones, and those kept for their prefix alone. */
  freeBlocks: z.int(),
  blockCount: z.int(),
  /** True once the model has generated a real token in this process. */
  isReady: z.boolean(),
  sentAtMs: z.number(),
  figures: figures.optional(),
})
export type Heartbeat = z.infer<typeof heartbeat>

export function decodeHeartbeat(json: string): Heartbeat {
  return heartbeat.parse(JSON.parse(json))
}

export function decodeServedModel(json: string): ServedModel {
  return servedModel.parse(JSON.parse(json))
}
