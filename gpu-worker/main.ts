/**
 * The GPU worker process: settings, the real Runner, a worker around it, and an exit that says how it went.
 *
 * It does not know jobs. Exit 0 after SIGTERM (once its jobs have ended, or their time), SIGINT, a second signal or when
 * its launcher is gone (at once: jobs are handed back); 1 when it cannot serve (any more): a GPU
 * that failed once is suspect, so the process ends and its supervisor starts a fresh one.
 */
import { randomUUID } from 'node:crypto'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { onLauncherGone, tellLauncher } from '../contract/lifecycle.ts'
import { openLog } from '../contract/process-log.ts'
import { loadModelText } from './model/model-text.ts'
import { loadRunner, type LoadedRunner } from './model/load-runner.ts'
import { measureChunk } from './chunk-size.ts'
import { LoadReport } from './load-report.ts'
import { memoryTable } from './model/memory-table.ts'
import { openLink, requireKeeping, whenConnected } from './redis-link.ts'
import { parseSettings, type WorkerSettings } from './settings.ts'
import { describeFailure } from './start-failure.ts'
import { startWorker } from './worker.ts'

const closeGraceMs = 1_000
const redisDeadlineMs = 5_000
const log = openLog('gpu-worker')
let stop = async (_drainMs: number): Promise<void> => undefined
let drainMs = 0
let isStopping = false

process.on('SIGTERM', () => void leave(drainMs))
process.on('SIGINT', () => void leave(0))
onLauncherGone(() => void leave(0))
process.on('uncaughtException', (error) => void die(error))

try {
  await serve(parseSettings(process.env))
} catch (error) {
  await die(error)
}

async function serve(settings: WorkerSettings): Promise<void> {
  const { modelDir, modelId, modelAliases, workerId, laneCount, redisUrl } = settings
  drainMs = settings.drainMs
  await requireRedis(redisUrl)
  await tellLauncher({ kind: 'progress', step: 'reading the tokenizer' })
  const text = await loadModelText(modelDir, modelId)
  const loaded = await load(settings)
  const { runner, adapter } = loaded
  await tellLauncher({ kind: 'progress', step: 'generating a first token' })
  const chunk = await measureChunk(runner, settings.stepMs, () => performance.now())
  const worker = await startWorker({
    runner,
    text,
    redisUrl,
    workerId,
    instanceId: `${workerId}-${randomUUID()}`,
    modelAliases,
    adapter: adapter.description,
    laneCount,
    prefillRowsMax: chunk.rows,
    log,
    nowMs: Date.now,
  })
  stop = async (patienceMs) => {
    await worker.stop(patienceMs)
    await Promise.race([runner.close(), delay(closeGraceMs)])
  }
  const facts = {
    model: modelId,
    adapter: adapter.description,
    toggles: `${settings.toggleProfile}: ${adapter.toggles.join(', ') || 'none'}`,
    profile: settings.profile,
    fingerprint: runner.fingerprint,
    memory: memoryTable(loaded.memory, { config: loaded.config, profile: settings.profile }),
    chunk: `${chunk.rows} rows in ${Math.round(chunk.ms)} of ${settings.stepMs} ms`,
    firstTokenMs: Math.round(worker.firstTokenMs),
  }
  log.info(facts, 'ready')
  await tellLauncher({ kind: 'ready', facts })
  await worker.ended
}

/** Before minutes go into loading a model. @throws RedisGone, RedisEvicts. */
async function requireRedis(redisUrl: string): Promise<void> {
  await tellLauncher({ kind: 'progress', step: 'asking for Redis' })
  const link = openLink(redisUrl, { log })
  try {
    await whenConnected(link, redisDeadlineMs)
    await requireKeeping(link, redisDeadlineMs)
  } finally {
    link.disconnect()
  }
}

/** Tells of the memory before loading and of the loading itself, in the log and to the launcher. */
async function load(settings: WorkerSettings): Promise<LoadedRunner> {
  const { modelDir, slots, profile, gpuBytesMax, kvBytesMax, expertSlots, dawnToggles } = settings
  await tellLauncher({ kind: 'progress', step: 'opening the GPU' })
  const report = new LoadReport((detail) => {
    log.info(`loading weights: ${detail}`)
    void tellLauncher({ kind: 'progress', step: 'loading weights', detail })
  })
  const loaded = await loadRunner({
    checkpoint: modelDir,
    profile,
    sequencesMax: slots,
    ...(gpuBytesMax === null ? {} : { gpuBytesMax }),
    ...(kvBytesMax === null ? {} : { kvBytesMax }),
    ...(expertSlots === null ? {} : { expertSlots }),
    toggles: dawnToggles,
    onMemory: (account, served) => log.info({ account }, `memory:\n${memoryTable(account, served)}`),
    onProgress: (progress) => report.tell(progress),
  })
  for (const warning of loaded.warnings) log.warn(warning)
  for (const [tensor, count] of loaded.notFinite)
    log.warn({ tensor, count }, 'a tensor has values that are NaN or infinite')
  return loaded
}

/** A second call ends the patience of the first. */
async function leave(patienceMs: number): Promise<void> {
  const isFirst = !isStopping
  isStopping = true
  try {
    await stop(isFirst ? patienceMs : 0)
    process.exit(0)
  } catch (error) {
    await die(error)
  }
}

async function die(error: unknown): Promise<void> {
  const failure = describeFailure(error)
  // Where, not what: only the errors described above are known to hold no tenant data.
  const stack = error instanceof Error ? error.stack?.match(/^ +at .*$/gm) : undefined
  log.fatal({ wayOut: failure.wayOut, stack }, failure.message)
  await tellLauncher({ kind: 'fatal', ...failure })
  process.exit(1)
}
