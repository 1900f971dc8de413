/**
 * The Broker: the only part of the edge that talks to Redis. One Durable Object a shard of jobs, one connection each.
 *
 * It admits a job, queues it, and hands its log to whoever reads; it gives a job up when its last reader left. It knows
 * no HTTP client, no key and no OpenAI shape. All its state can be rebuilt: the log is in Redis, readers come back.
 */
import { DurableObject } from 'cloudflare:workers'
import type { Admission, AdmitResult } from '../../contract/admission.ts'
import { AppError } from '../../contract/errors.ts'
import type { JobId } from '../../contract/ids.ts'
import { channels, keys } from '../../contract/keys.ts'
import { serviceTiers } from '../../contract/quota.ts'
import { readSettings, type Env } from '../env.ts'
import { logError, logWarning } from '../log.ts'
import type { Settings } from '../settings.ts'
import { steadyNowMs } from '../steady-clock.ts'
import { obey } from './control.ts'
import { fleetCacheMs, readFleet, type FleetState } from './fleet.ts'
import { Intake } from './intake.ts'
import { pageEntriesMax, type JobReader, type LogPage } from './job-reader.ts'
import {
  brokerPaths,
  elsewhereStatus,
  graceMsOf,
  logResponse,
  shardOfBroker,
  type Attachment,
  type Control,
  type Elsewhere,
  type Fleet,
  type Order,
  type Refusal,
} from './protocol.ts'
import { refusalOf } from './refusals.ts'
import { Readers } from './readers.ts'
import { RedisLink } from './redis-link.ts'

export class Broker extends DurableObject<Env> {
  readonly #settings: Settings
  readonly #shard: number
  readonly #link: RedisLink
  readonly #readers: Readers
  readonly #intake: Intake
  /** Jobs to be cancelled as soon as Redis can be reached. */
  readonly #owedCancels = new Set<JobId>()
  #fleet: { readonly state: FleetState; readonly untilMs: number } | null = null
  #readingFleet: Promise<FleetState> | null = null

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#settings = readSettings(env)
    this.#shard = shardOfBroker(ctx.id.name)
    this.#readers = new Readers(
      { page: (jobId, after) => this.#page(jobId, after) },
      (jobId) => this.#cancel(jobId),
      () => this.#link.downSinceMs,
    )
    this.#link = new RedisLink({
      url: this.#settings.redisUrl,
      shard: this.#shard,
      laneCount: this.#settings.laneCount,
      onMessage: (message) => this.#readers.hear(message),
      onUp: () => {
        this.#readers.lookAll()
        for (const jobId of this.#owedCancels) this.#cancel(jobId)
      },
      isNeeded: () => !this.#readers.isEmpty || this.#owedCancels.size > 0,
    })
    this.#intake = new Intake({
      link: this.#link,
      db: env.DB,
      shard: this.#shard,
      laneCount: this.#settings.laneCount,
      onLost: (jobId) => this.#owe(jobId),
    })
  }

  override async fetch(request: Request): Promise<Response> {
    try {
      switch (new URL(request.url).pathname) {
        case brokerPaths.open:
          return await this.#open(await request.json<Order>())
        case brokerPaths.attach:
          return await this.#attach(await request.json<Attachment>())
        case brokerPaths.fleet:
          return Response.json(await this.#tellFleet())
        case brokerPaths.control: {
          const control = await request.json<Control>()
          return Response.json(await this.#link.run(({ redis }) => obey(redis, control)))
        }
        default:
          throw new AppError('not_found', 'A Broker has no such path.')
      }
    } catch (error) {
      return refusal(error)
    }
  }

  async #open(order: Order): Promise<Response> {
    const { idempotency } = order
    const admission = await this.#intake.admissionOf(order, await this.#fleetState())
    if (idempotency?.isResumption === true) {
      const slot = keys.idempotency(order.tenantId, idempotency.keyDigest)
      if ((await this.#link.run(({ redis }) => redis.exists(slot))) === 0) throw notKept()
    }
    // The reader listens before the job exists, so that it misses nothing.
    const reader = this.#readers.add(order.jobId, graceMsOf(order), true)
    const result = await this.#admit(reader, admission, order)
    if (result.kind === 'replay') {
      const elsewhere: Elsewhere = { jobId: result.jobId as JobId, rate: result.rate }
      return Response.json(elsewhere, { status: elsewhereStatus })
    }
    this.ctx.waitUntil(this.#enqueue(order.jobId, result.lane, result.priority))
    const opening = {
      model: admission.model,
      isThinking: admission.request.thinking.think,
      tier: admission.tier,
      rate: result.rate,
      isReplay: false,
    }
    return logResponse(opening, reader.stream)
  }

  /** @throws AppError for whatever is not a job to read. */
  async #admit(
    reader: JobReader,
    admission: Admission,
    order: Order,
  ): Promise<Extract<AdmitResult, { kind: 'admitted' | 'replay' }>> {
    let result: AdmitResult | null = null
    try {
      result = await this.#intake.admit(admission)
    } finally {
      if (result?.kind !== 'admitted') this.#readers.discard(reader)
    }
    switch (result.kind) {
      case 'admitted':
      case 'replay':
        return result
      default:
        throw refusalOf(result, order)
    }
  }

  /** The record exists: should this fail, the janitor queues the job. */
  async #enqueue(jobId: JobId, lane: number, priority: number): Promise<void> {
    try {
      await this.#link.run(async ({ redis, scripts, lanes }) => {
        const queue = lanes[lane]
        if (queue === undefined) throw new RangeError(`Lane ${lane} is not one of ${lanes.length}`)
        await queue.add('generate', {}, { jobId, priority })
        await Promise.all([scripts.queued(jobId), redis.publish(channels.wake, `${lane}`)])
      })
    } catch (error) {
      logError('enqueue-left-to-janitor', error, { jobId })
    }
  }

  async #attach({ jobId, tenantId, after, graceMs }: Attachment): Promise<Response> {
    const [owner, model, isThinking, tier, entryCount] = await this.#link.run(({ redis }) =>
      redis.hmget(keys.job(jobId), 'tenantId', 'model', 'isThinking', 'tier', 'entryCount'),
    )
    if (owner !== tenantId || model === null || model === undefined) throw notKept()
    if (after > Number(entryCount)) {
      throw new AppError('invalid_value', 'Last-Event-ID is beyond what this request has sent.', {
        param: 'last-event-id',
      })
    }
    const reader = this.#readers.add(jobId, graceMs, false)
    const opening = {
      model,
      isThinking: isThinking === '1',
      tier: serviceTiers.find((known) => known === tier) ?? 'default',
      rate: null,
      isReplay: true,
    }
    return logResponse(opening, reader.stream)
  }

  async #tellFleet(): Promise<Fleet> {
    const { model, isReady } = await this.#fleetState()
    return { model: model && { id: model.id, aliases: model.aliases, created: model.created }, isReady }
  }

  async #fleetState(): Promise<FleetState> {
    if (this.#fleet !== null && steadyNowMs() < this.#fleet.untilMs) return this.#fleet.state
    this.#readingFleet ??= this.#link
      .run(({ redis }) => readFleet(redis))
      .then((state) => {
        this.#fleet = { state, untilMs: steadyNowMs() + fleetCacheMs }
        return state
      })
      .finally(() => {
        this.#readingFleet = null
      })
    return this.#readingFleet
  }

  async #page(jobId: JobId, after: number): Promise<LogPage | null> {
    try {
      return await this.#link.run(async ({ redis }) => {
        const [rows, exists] = await Promise.all([
          redis.xrange(keys.log(jobId), `(${after}-0`, '+', 'COUNT', pageEntriesMax),
          redis.exists(keys.job(jobId)),
        ])
        const entries = rows.map(([id, [, json]]) => ({ sequence: Number.parseInt(id, 10), json: json ?? '' }))
        return { entries, isGone: entries.length === 0 && exists === 0 }
      })
    } catch (error) {
      if (!(error instanceof AppError)) {
        logError('log-unreadable', error, { jobId })
        return { entries: [], isGone: true }
      }
      this.#link.keepTrying()
      return null
    }
  }

  #cancel(jobId: JobId): void {
    this.#owedCancels.delete(jobId)
    this.ctx.waitUntil(
      this.#link
        .run(({ scripts }) => scripts.cancel(jobId))
        .then(() => undefined)
        .catch((error: unknown) => {
          if (error instanceof AppError) this.#owe(jobId)
          else logError('cancel-failed', error, { jobId })
        }),
    )
  }

  #owe(jobId: JobId): void {
    this.#owedCancels.add(jobId)
    logWarning('cancel-owed', { jobId })
    this.#link.keepTrying()
  }
}

function notKept(): AppError {
  return new AppError('not_found', 'The request of this Idempotency-Key is not known, or no longer kept.')
}

function refusal(error: unknown): Response {
  if (!(error instanceof AppError)) logError('broker-request-failed', error)
  const known =
    error instanceof AppError ? error : new AppError('internal_error', 'The server failed to handle this request.')
  const { retryAfterMs, shouldRetry, rate } = known
  const body: Refusal = { ...known.facts, retryAfterMs, shouldRetry, rate }
  return Response.json(body, { status: known.status })
}
