/**
 * What this isolate counted, told to Redis at most once a second through Broker 0.
 *
 * Figures, no bill: what could not be told is tried again, and an isolate that dies takes a second's worth with it. It
 * knows no names; `contract/gateway-counters.ts` does.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Context } from 'hono'
import type { GatewayCounts } from '../contract/gateway-counters.ts'
import type { AppEnv } from './app-env.ts'
import { tellBroker } from './broker/client.ts'
import type { Env } from './env.ts'
import { logWarning } from './log.ts'

const gatherMs = 1_000
/** A request that was to tell may be ended by the platform before it did; then another one does. */
const overdueMs = 10_000

/** Not yet told. Few names, so it stays small. */
const untold = new Map<string, number>()
/** Since when a request is about to tell; null when none is. */
let gatheringSinceMs: number | null = null

export function count(context: Pick<Context<AppEnv>, 'env' | 'executionCtx'>, counts: GatewayCounts): void {
  add(counts)
  const nowMs = Date.now()
  if (gatheringSinceMs !== null && nowMs - gatheringSinceMs < overdueMs) return
  gatheringSinceMs = nowMs
  context.executionCtx.waitUntil(tellSoon(context.env))
}

async function tellSoon(env: Env): Promise<void> {
  await delay(gatherMs)
  gatheringSinceMs = null
  const counters = Object.fromEntries(untold)
  untold.clear()
  try {
    await tellBroker(env, { kind: 'count', counters })
  } catch {
    // tellBroker has logged why.
    logWarning('counters-kept', { count: Object.keys(counters).length })
    add(counters)
  }
}

function add(counts: GatewayCounts): void {
  for (const [name, added] of Object.entries(counts)) untold.set(name, (untold.get(name) ?? 0) + added)
}
