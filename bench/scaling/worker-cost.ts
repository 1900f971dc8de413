/**
 * What a token costs a worker and its Redis while so many jobs wait, and what a worker costs that has nothing to do.
 *
 * A worker in this process, a private Redis, jobs admitted as the Broker admits them. It judges nothing.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { decodeLiveMessage } from '../../contract/event.ts'
import { channels } from '../../contract/keys.ts'
import type { Runner } from '../../gpu-worker/engine/runner.ts'
import { loadModelText } from '../../gpu-worker/model/model-text.ts'
import { type RunningWorker, startWorker } from '../../gpu-worker/worker.ts'
import { FakeRunner } from '../../test/fake-runner.ts'
import { fakeVocabulary } from '../../test/fixtures/fake-gpu-worker.ts'
import { JobDesk, shard } from '../../test/fixtures/job-desk.ts'
import { startRedis, type TestRedis } from '../../test/fixtures/redis.ts'

export interface TokenCost {
  readonly openJobCount: number
  /** Processor time, µs a token: of this process' main thread, asking included, and of Redis. */
  readonly workerMicros: number
  readonly redisMicros: number
}

export interface WorkerCostOptions {
  readonly modelDir: string
  readonly slots: number
  /** Jobs answered before the measurement, and in it. */
  readonly jobsBefore: number
  readonly jobsMeasured: number
}

const modelId = 'axk1-tiny'
const answerTokens = 16
const asksAtOnce = 64
const settleMs = 1_000

/** So many jobs are open all the time: each that ends is followed by another. */
export async function costPerToken(options: WorkerCostOptions, openJobCount: number): Promise<TokenCost> {
  const server = await startRedis()
  try {
    const desk = await JobDesk.open(server)
    const ask = () => desk.ask({ request: { maxTokens: answerTokens }, fairTokens: answerTokens })
    for (let asked = 0; asked < openJobCount; asked += asksAtOnce)
      await Promise.all(Array.from({ length: Math.min(asksAtOnce, openJobCount - asked) }, ask))
    const ends = await followEnds(server, ask)
    const runner = new FakeRunner({
      vocabulary: fakeVocabulary,
      limits: { sequencesMax: options.slots, rowsMax: 256, blockCount: 8 * options.slots },
    })
    const worker = await startOn(server, runner, options.modelDir)
    try {
      await ends.reach(options.jobsBefore)
      const [cpu, redisBefore, countBefore] = [process.threadCpuUsage(), await redisMicros(server), ends.count()]
      await ends.reach(options.jobsBefore + options.jobsMeasured)
      const { user, system } = process.threadCpuUsage(cpu)
      const tokens = (ends.count() - countBefore) * answerTokens
      const redis = (await redisMicros(server)) - redisBefore
      return { openJobCount, workerMicros: (user + system) / tokens, redisMicros: redis / tokens }
    } finally {
      ends.stop()
      await worker.stop()
    }
  } finally {
    await server.stop()
  }
}

/** Processors that this whole process keeps busy while a worker over `runner` waits for jobs. */
export async function idleProcessors(runner: Runner, modelDir: string, measureMs: number): Promise<number> {
  const server = await startRedis()
  try {
    const worker = await startOn(server, runner, modelDir)
    try {
      await delay(settleMs)
      const [cpu, startedMs] = [process.cpuUsage(), performance.now()]
      await delay(measureMs)
      const { user, system } = process.cpuUsage(cpu)
      return (user + system) / 1000 / (performance.now() - startedMs)
    } finally {
      await worker.stop()
    }
  } finally {
    await server.stop()
  }
}

async function startOn(server: TestRedis, runner: Runner, modelDir: string): Promise<RunningWorker> {
  return startWorker({
    runner,
    text: await loadModelText(modelDir, modelId),
    redisUrl: server.url,
    workerId: 'scaling',
    instanceId: 'scaling-1',
    modelAliases: [],
    adapter: 'scaling',
    laneCount: 1,
    log: pino({ level: 'silent' }),
    nowMs: Date.now,
  })
}

interface Ends {
  readonly count: () => number
  /** Resolves when so many jobs have ended. */
  readonly reach: (count: number) => Promise<void>
  /** Nothing is asked any more. */
  readonly stop: () => void
}

/** Hears of every job's end, and asks for another. */
async function followEnds(server: TestRedis, ask: () => Promise<unknown>): Promise<Ends> {
  let [count, isStopped] = [0, false]
  let waiter: { readonly target: number; readonly resolve: () => void } | null = null
  const live = server.connect()
  live.on('message', (_channel: string, message: string) => {
    if (decodeLiveMessage(message).event.entry.kind !== 'end') return
    count += 1
    if (waiter !== null && count >= waiter.target) waiter.resolve()
    // Refused while the server goes away, and only then.
    if (!isStopped) ask().catch(() => undefined)
  })
  await live.subscribe(channels.live(shard))
  return {
    count: () => count,
    reach: async (target) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      waiter = { target, resolve }
      if (count >= target) resolve()
      await promise
    },
    stop: () => {
      isStopped = true
    },
  }
}

/** Processor time that the server took so far. */
async function redisMicros(server: TestRedis): Promise<number> {
  const redis = server.connect()
  const info = await redis.info('cpu')
  redis.disconnect()
  const seconds = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1])
  return 1e6 * (seconds('used_cpu_user') + seconds('used_cpu_sys'))
}
