/**
 * A GPU worker put together: Redis links, lanes, engine loop, heartbeat. From `startWorker` to `stop`.
 *
 * It is given its Runner and its text and does not know the process it lives in: neither GPU, environment, signals nor
 * exit codes. The Runner stays the caller's to close.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { ServedModel } from '../contract/heartbeat.ts'
import { decodeServedModel } from '../contract/heartbeat.ts'
import { channels, keys } from '../contract/keys.ts'
import { heartbeatMs, heartbeatTtlMs, lockMs, lockRenewMs, suspectStalledCount } from '../contract/limits.ts'
import { readScriptSources } from '../contract/script-files.ts'
import { JobScripts, type ScriptSources } from '../contract/scripts.ts'
import { Consumer } from './consumer.ts'
import { Engine } from './engine/engine.ts'
import type { Runner } from './engine/runner.ts'
import { EngineLoop } from './engine-loop.ts'
import { Heartbeats } from './heartbeat.ts'
import { ownedLanes } from './lane-choice.ts'
import { LaneQueues } from './lane-queues.ts'
import { Locks } from './locks.ts'
import type { ModelText } from './model/model-text.ts'
import { openLink, whenConnected } from './redis-link.ts'
import { warmUp } from './warm-up.ts'

export interface WorkerOptions {
  readonly runner: Runner
  readonly text: ModelText
  readonly redisUrl: string
  readonly workerId: string
  /** Unique to this process: names its locks. */
  readonly instanceId: string
  readonly modelAliases: readonly string[]
  readonly adapter: string
  readonly laneCount: number
  readonly log: Logger
  /** Wall clock, ms. */
  readonly nowMs: () => number
  /** Tests shorten them; everyone else leaves them to the limits. */
  readonly timings?: Partial<WorkerTimings>
  /** Protections that a fault test's negative control switches off. */
  readonly scriptSources?: ScriptSources
  readonly isResuming?: boolean
  readonly suspectStalledCount?: number
}

export interface WorkerTimings {
  readonly lockMs: number
  readonly lockRenewMs: number
  readonly heartbeatMs: number
  readonly heartbeatTtlMs: number
  readonly pollMs: number
  readonly redisDeadlineMs: number
}

/** A wake-up is published with every job; this is how long one that got lost is missed. Two commands a lane each. */
const pollMs = 250
/** Redis away for longer than this ends the process. */
const redisDeadlineMs = 30_000
const redisStartDeadlineMs = 10_000
/** Of a stop: what is under way may still arrive, then everything is let go. */
const stopGraceMs = 2_000
const defaultTimings = { lockMs, lockRenewMs, heartbeatMs, heartbeatTtlMs, pollMs, redisDeadlineMs }

export interface RunningWorker {
  /** From the warm-up's submission to its first token. */
  readonly firstTokenMs: number
  /** Resolves after `stop`; rejects when the Runner or Redis failed: then every job is left to takeover. */
  readonly ended: Promise<void>
  /** Hands running jobs back and leaves. A second call waits for the first. */
  readonly stop: () => Promise<void>
}

/** Resolves when the model has generated tokens here and jobs are being taken. @throws RedisGone, StepFailed. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { runner, text, log, workerId, laneCount, nowMs } = options
  const timings = { ...defaultTimings, ...options.timings }
  const redis = openLink(options.redisUrl, { log, isPipelined: true })
  const bullRedis = openLink(options.redisUrl, { log })
  const subscriber = openLink(options.redisUrl, { log, isListener: true })
  const close = () => {
    for (const link of [redis, bullRedis, subscriber]) link.disconnect()
  }
  try {
    await whenConnected(redis, redisStartDeadlineMs)
  } catch (error) {
    close()
    throw error
  }

  const engine = new Engine(runner)
  const contextTokens = Math.min(text.contextTokensMax, engine.tokensMax)
  let isReady = false
  const heartbeats = new Heartbeats({
    redis,
    workerId,
    intervalMs: timings.heartbeatMs,
    ttlMs: timings.heartbeatTtlMs,
    log,
    measure: () => {
      const { runningCount, waitingCount, freeBlockCount, blockCount } = engine.stats()
      return {
        workerId,
        pid: process.pid,
        model: text.modelId,
        fingerprint: runner.fingerprint,
        adapter: options.adapter,
        contextTokens,
        slots: runner.limits.sequencesMax,
        lanes: [...owned()],
        running: runningCount,
        waiting: waitingCount,
        freeBlocks: freeBlockCount,
        blockCount,
        isReady,
        sentAtMs: nowMs(),
      }
    },
  })
  const owned = () => ownedLanes(workerId, heartbeats.liveWorkerIds, laneCount)
  const queues = new LaneQueues(bullRedis, {
    laneCount,
    lockMs: timings.lockMs,
    tokenPrefix: options.instanceId,
    onError: (error) => log.warn({ reason: error.message }, 'BullMQ'),
  })
  const locks = new Locks(queues, timings.lockRenewMs, log)
  const loop = new EngineLoop(engine, () => consumer.notice())
  const consumer = new Consumer({
    loop,
    scripts: new JobScripts(redis, options.scriptSources ?? readScriptSources()),
    redis,
    queues,
    locks,
    text,
    log,
    workerId,
    fingerprint: runner.fingerprint,
    slots: runner.limits.sequencesMax,
    ownedLanes: owned,
    pollMs: timings.pollMs,
    redisDeadlineMs: timings.redisDeadlineMs,
    isResuming: options.isResuming ?? true,
    suspectStalledCount: options.suspectStalledCount ?? suspectStalledCount,
  })
  const stopped = new AbortController()
  const leave = async () => {
    locks.stop()
    await Promise.race([heartbeats.stop().catch(() => undefined), delay(stopGraceMs)])
    await queues.close().catch(() => undefined)
    close()
  }

  try {
    await redis.set(keys.servedModel, JSON.stringify(await servedModel()))
    await heartbeats.start()
    const firstTokenMs = await warmUp(engine, text)
    isReady = true
    await heartbeats.beat()
    await listen()
    const looping = loop.run(stopped.signal)
    const consuming = consumer.run()
    const failing = Promise.race(
      [looping, consuming].map((running) => running.then(() => new Promise(() => undefined))),
    )
    const { promise: ended, resolve, reject } = Promise.withResolvers<void>()
    failing.catch(async (error: unknown) => {
      // Nothing is handed back: a job that breaks the Runner every time must be counted by its takeovers.
      stopped.abort()
      await leave()
      reject(error)
    })
    const stop = async () => {
      stopped.abort()
      await Promise.race([Promise.all([looping, consumer.stop(), consuming]), delay(stopGraceMs)])
      await redis.publish(channels.wake, '0').catch(() => undefined)
      await leave()
      resolve()
    }
    let stopping: Promise<void> | null = null
    return { firstTokenMs, ended, stop: () => (stopping ??= stop()) }
  } catch (error) {
    await leave()
    throw error
  }

  /** Kept from its first serving on. */
  async function servedModel(): Promise<ServedModel> {
    const before = await redis.get(keys.servedModel)
    const known = before === null ? null : decodeServedModel(before)
    const created = known?.id === text.modelId ? known.created : Math.floor(nowMs() / 1_000)
    return { id: text.modelId, aliases: [...options.modelAliases], contextTokens, created }
  }

  async function listen(): Promise<void> {
    subscriber.on('message', (channel: string, message: string) => {
      if (channel === channels.cancel) consumer.cancel(message)
      else consumer.wake()
    })
    // What was published while the link was down is lost: cancels are read at every append, lanes looked at now.
    subscriber.on('ready', () => consumer.wake())
    await subscriber.subscribe(channels.cancel, channels.wake)
  }
}
