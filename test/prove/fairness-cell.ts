/**
 * Two GPU workers on the fake Runner, a private Redis, and tenants as crowds of clients that ask again as soon as they are
 * answered: what each job waited for, by the records that the scripts keep.
 *
 * It judges nothing. Whoever opens a cell closes it.
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { decodeLiveMessage } from '../../contract/event.ts'
import { channels, keys } from '../../contract/keys.ts'
import type { ScriptSources } from '../../contract/scripts.ts'
import { loadModelText, type ModelText } from '../../gpu-worker/model/model-text.ts'
import { type RunningWorker, startWorker } from '../../gpu-worker/worker.ts'
import { FakeRunner } from '../fake-runner.ts'
import { dice, type Dice } from '../fixtures/dice.ts'
import { fakeVocabulary } from '../fixtures/fake-gpu-worker.ts'
import { JobDesk, shard } from '../fixtures/job-desk.ts'
import { startRedis, type TestRedis } from '../fixtures/redis.ts'

const workerCount = 2
const laneCount = 2
const slotsPerWorker = 4
const stepMs = 10
/** Of an answer. */
const answerTokens = [4, 16] as const
/** A job that is not answered after so long fails the proof. */
const answerDeadlineMs = 60_000

export interface Tenant {
  readonly tenantId: string
  readonly clientCount: number
}

/** A job from admission to its first claim, by Redis time. */
export interface WaitedJob {
  readonly tenantId: string
  readonly tokens: number
  readonly admittedAtMs: number
  readonly claimedAtMs: number
}

export class FairnessCell {
  readonly #server: TestRedis
  readonly #desk: JobDesk
  readonly #text: ModelText
  readonly #workers: readonly RunningWorker[]
  readonly #ended = new Map<string, () => void>()

  private constructor(server: TestRedis, desk: JobDesk, text: ModelText, workers: readonly RunningWorker[]) {
    this.#server = server
    this.#desk = desk
    this.#text = text
    this.#workers = workers
  }

  /** @param sources of whoever admits; a negative control's charge nothing. */
  static async open(sources?: ScriptSources): Promise<FairnessCell> {
    const server = await startRedis()
    const text = await loadModelText('models/axk1-tiny', 'axk1-tiny')
    const workers = await Promise.all(
      Array.from({ length: workerCount }, (_, index) =>
        startWorker({
          runner: new FakeRunner({
            vocabulary: fakeVocabulary,
            limits: { sequencesMax: slotsPerWorker },
            stepMs: () => stepMs,
            wait: (ms) => delay(ms),
          }),
          text,
          redisUrl: server.url,
          workerId: `w${index}`,
          instanceId: `w${index}-1`,
          modelAliases: [],
          adapter: 'fake',
          laneCount,
          log: pino({ level: 'silent' }),
          nowMs: Date.now,
        }),
      ),
    )
    const cell = new FairnessCell(server, await JobDesk.open(server, sources), text, workers)
    const live = server.connect()
    live.on('message', (_channel: string, message: string) => {
      const { jobId, event } = decodeLiveMessage(message)
      if (event.entry.kind === 'end') cell.#ended.get(jobId)?.()
    })
    await live.subscribe(channels.live(shard))
    return cell
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()))
    await this.#server.stop()
  }

  /** Runs until the tenant of that name has so many jobs behind it; returns all jobs in the order of their admission. */
  async run(tenants: readonly Tenant[], seed: number, untilTenantId: string, jobCount: number): Promise<WaitedJob[]> {
    const jobs: WaitedJob[] = []
    const isDone = () => jobs.filter(({ tenantId }) => tenantId === untilTenantId).length >= jobCount
    const clients = tenants.flatMap(({ tenantId, clientCount }, tenant) =>
      Array.from({ length: clientCount }, async (_, client) => {
        const draw = dice(seed * 1_000_003 + tenant * 10_007 + client)
        while (!isDone()) jobs.push(await this.#ask(tenantId, draw))
      }),
    )
    await Promise.all(clients)
    return jobs.sort((one, other) => one.admittedAtMs - other.admittedAtMs)
  }

  async #ask(tenantId: string, draw: Dice): Promise<WaitedJob> {
    const maxTokens = draw(...answerTokens)
    const messages = [{ role: 'user' as const, content: 'word '.repeat(draw(1, 100)) }]
    const tokens = this.#text.promptTokens({ messages, think: false }).length + maxTokens
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const late = setTimeout(() => reject(new Error('A job was not answered in time')), answerDeadlineMs)
    const admitted = await this.#desk.ask({ tenantId, laneCount, fairTokens: tokens, request: { messages, maxTokens } })
    this.#ended.set(admitted, resolve)
    await promise.finally(() => clearTimeout(late))
    this.#ended.delete(admitted)
    const [admittedAtMs, claimedAtMs] = await this.#desk.redis.hmget(keys.job(admitted), 'admittedAtMs', 'claimedAtMs')
    assert(Number(claimedAtMs) > 0, 'An answered job was claimed')
    return { tenantId, tokens, admittedAtMs: Number(admittedAtMs), claimedAtMs: Number(claimedAtMs) }
  }
}
