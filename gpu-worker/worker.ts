/**
 * A GPU worker put together: Redis links, lanes, engine loop, heartbeat. From `startWorker` to `stop`.
 *
 * It is given its Runner and its text and does not know the process it lives in: neither GPU, environment, signals nor
 * exit codes. The Runner stays the caller's to close.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { channels } from '../contract/keys.ts'
import { heartbeatMs, heartbeatTtlMs, lockMs, lockRenewMs, suspectStalledCount } from '../contract/limits.ts'
import { readScriptSources } from '../contract/script-files.ts'
import { JobScripts, type ScriptSources } from '../contract/scripts.ts'
import { Consumer } from './consumer.ts'
import { type AgeCapsMs, defaultAgeCapsMs } from './engine/admission.ts'
import { Engine } from './engine/engine.ts'
import type { Runner } from './engine/runner.ts'
import { EngineLoop } from './engine-loop.ts'
import { WorkerFigures } from './figures.ts'
import { Heartbeats } from './heartbeat.ts'
import { ownedLanes } from './lane-choice.ts'
import { LaneQueues } from './lane-queues.ts'
import { Locks } from './locks.ts'
import type { ModelText } from './model/model-text.ts'
import { openLink, untilAnswered, whenConnected } from './redis-link.ts'
import { announceModel } from './served-model.ts'
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
  /** Prompt rows of one step; all that the Runner holds if absent. */
  readonly prefillRowsMax?: number
  /** The engine's own if absent; a bench's baseline has others. */
  readonly ageCapsMs?: AgeCapsMs
  /** Wall clock, ms, for others to read: nothing here is timed by it, since it may be wrong, and may jump. */
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
const clockMs = () => performance.now()
const defaultTimings = { lockMs, lockRenewMs, heartbeatMs, heartbeatTtlMs, pollMs, redisDeadlineMs }

export interface RunningWorker {
  /** From the warm-up's submission to its first token. */
  readonly firstTokenMs: number
  /** Resolves after `stop`; rejects when the Runner or Redis failed: then every job is left to takeover. */
  readonly ended: Promise<void>
  /**
   * Takes nothing more, gives running jobs so long to end, hands back those that have not, and leaves. A second call
   * waits for the first; one without time ends its patience.
   */
  readonly stop: (drainMs?: number) => Promise<void>
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

  const { prefillRowsMax = runner.limits.rowsMax, ageCapsMs = defaultAgeCapsMs } = options
  const engine = new Engine(runner, { prefillRowsMax, ageCapsMs })
  const contextTokens = Math.min(text.contextTokensMax, engine.tokensMax)
  const figures = new WorkerFigures()
  const served = { id: text.modelId, aliases: [...options.modelAliases], contextTokens }
  const announce = () => announceModel(redis, served, nowMs())
  let isReady = false
  const heartbeats = new Heartbeats({
    redis,
    workerId,
    intervalMs: timings.heartbeatMs,
    ttlMs: timings.heartbeatTtlMs,
    log,
    announce,
    measure: () => {
      const { runningCount, waitingCount, freeBlockCount, cachedBlockCount, blockCount, preemptionCount } =
        engine.stats()
      const { counters, histograms } = figures.snapshot()
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
        freeBlocks: freeBlockCount + cachedBlockCount,
        blockCount,
        isReady,
        sentAtMs: nowMs(),
        figures: { counters: { ...counters, num_preemptions: preemptionCount }, histograms },
      }
    },
  })
  let ownedBefore = { liveWorkerIds: heartbeats.liveWorkerIds, lanes: ownedLanes(workerId, [], laneCount) }
  const owned = () => {
    const { liveWorkerIds } = heartbeats
    if (liveWorkerIds !== ownedBefore.liveWorkerIds) {
      ownedBefore = { liveWorkerIds, lanes: ownedLanes(workerId, liveWorkerIds, laneCount) }
    }
    return ownedBefore.lanes
  }
  const queues = new LaneQueues(bullRedis, {
    laneCount,
    lockMs: timings.lockMs,
    tokenPrefix: options.instanceId,
    onError: (error) => log.warn({ reason: error.message }, 'BullMQ'),
  })
  const locks = new Locks(queues, timings.lockRenewMs, log)
  const loop = new EngineLoop(engine, clockMs, () => consumer.notice())
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
    figures,
    clockMs,
    isResuming: options.isResuming ?? true,
    suspectStalledCount: options.suspectStalledCount ?? suspectStalledCount,
  })
  const stopped = new AbortController()
  const leave = async () => {
    locks.stop()
    await Promise.race([Promise.allSettled([heartbeats.stop(), queues.close()]), delay(stopGraceMs)])
    close()
  }

  try {
    await untilAnswered(announce, redisStartDeadlineMs)
    await heartbeats.start()
    const firstTokenMs = await warmUp(engine, text)
    isReady = true
    await heartbeats.beat()
    await listen()
    const looping = loop.run(stopped.signal)
    const consuming = consumer.run()
    let stopping: Promise<void> | null = null
    const failing = Promise.race(
      [looping, consuming].map((running) => running.then(() => new Promise(() => undefined))),
    )
    const { promise: ended, resolve, reject } = Promise.withResolvers<void>()
    failing.catch(async (error: unknown) => {
      // Nothing is handed back: a job that breaks the Runner every time must be counted by its takeovers.
      stopping = Promise.resolve()
      stopped.abort()
      await leave()
      reject(error)
    })
    const handOver = async () => {
      stopped.abort()
      await Promise.allSettled([looping, consumer.stop(), consuming])
      await redis.publish(channels.wake, '0')
    }
    const hurry = new AbortController()
    const drain = async (drainMs: number) => {
      isReady = false
      void heartbeats.beat()
      const patience = delay(drainMs, undefined, { signal: hurry.signal }).catch(() => undefined)
      await Promise.race([Promise.allSettled([consumer.drain()]), patience])
      hurry.abort()
    }
    const stop = async (drainMs: number) => {
      if (drainMs > 0) await drain(drainMs)
      await Promise.race([Promise.allSettled([handOver()]), delay(stopGraceMs)])
      await leave()
      resolve()
    }
    return {
      firstTokenMs,
      ended,
      stop: (drainMs = 0) => {
        if (drainMs === 0) hurry.abort()
        return (stopping ??= stop(drainMs))
      },
    }
  } catch (error) {
    await leave()
    throw error
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
