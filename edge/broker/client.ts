/**
 * The gateway's end of the Broker: orders a job or attaches to one, and reads its log as events.
 *
 * A log stream that breaks (the Broker moved or was replaced) is taken up again where it stood. It knows neither frames
 * nor Redis.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { AppError } from '../../contract/errors.ts'
import { decodeLogEntry, type LogEvent } from '../../contract/event.ts'
import { shardOf, type JobId } from '../../contract/ids.ts'
import { readSettings, type Env } from '../env.ts'
import { logError, logWarning } from '../log.ts'
import {
  brokenMark,
  brokerName,
  brokerPaths,
  elsewhereStatus,
  graceMsOf,
  openingOf,
  type Attachment,
  type Control,
  type ControlAnswer,
  type Elsewhere,
  type Fleet,
  type Opening,
  type Order,
  type Refusal,
} from './protocol.ts'

/**
 * Waits before a broken stream is taken up again, try by try. A Broker is back within the first ones; the rest is for a
 * Redis that went away with it. A stream that breaks more often without an entry in between is given up.
 */
const reattachDelaysMs = [0, 100, 400, 1_000, 2_000, 4_000, 8_000]

export interface OpenJob {
  readonly jobId: JobId
  readonly opening: Opening
  readonly log: JobLog
}

/**
 * @param after where the client's reading stood, should the order be a repetition.
 * @throws AppError as the Broker refused, or queue_unavailable.
 */
export async function orderJob(env: Env, order: Order, after: number, signal: AbortSignal): Promise<OpenJob> {
  const response = await ask(env, order.jobId, brokerPaths.open, order, signal)
  const graceMs = graceMsOf(order)
  if (response.status !== elsewhereStatus) return openLog(env, { ...order, graceMs }, response, signal)
  const { jobId, rate } = await response.json<Elsewhere>()
  const attachment: Attachment = { jobId, tenantId: order.tenantId, after, graceMs }
  const job = await openLog(env, attachment, await ask(env, jobId, brokerPaths.attach, attachment, signal), signal)
  return { ...job, opening: { ...job.opening, rate } }
}

/** @throws AppError queue_unavailable. */
export async function askFleet(env: Env): Promise<Fleet> {
  const stub = env.BROKER.get(env.BROKER.idFromName(brokerName(0)))
  const response = await reach(() => stub.fetch(`https://broker${brokerPaths.fleet}`))
  return response.json<Fleet>()
}

/** @throws AppError queue_unavailable. */
export async function tellBroker<C extends Control>(env: Env, control: C): Promise<ControlAnswer<C['kind']>> {
  const stub = env.BROKER.get(env.BROKER.idFromName(brokerName(0)))
  const init = { method: 'POST', body: JSON.stringify(control) }
  const response = await reach(() => stub.fetch(`https://broker${brokerPaths.control}`, init))
  return response.json<ControlAnswer<C['kind']>>()
}

/** A job's log, batch by batch: each batch is what had arrived together. */
export class JobLog {
  readonly #reopen: (after: number) => Promise<LineReader>
  /** Null while the stream is broken. */
  #lines: LineReader | null
  #sequence = 0
  /** Times the stream broke since the last entry. */
  #breaks = 0
  #isCancelled = false

  constructor(lines: LineReader, reopen: (after: number) => Promise<LineReader>) {
    this.#lines = lines
    this.#reopen = reopen
  }

  /**
   * The next events, never none. One call at a time; after an end entry there is nothing to call for.
   * @throws AppError when the log cannot be read to its end.
   */
  async next(): Promise<LogEvent[]> {
    for (;;) {
      const lines = await this.#read()
      const events = lines.map(decodeLine).filter((event) => event.sequence > this.#sequence)
      const last = events.at(-1)
      if (last === undefined) continue
      this.#sequence = last.sequence
      this.#breaks = 0
      return events
    }
  }

  /** Tells the Broker that nobody reads any more. */
  async cancel(): Promise<void> {
    this.#isCancelled = true
    await this.#lines?.cancel()
  }

  async #read(): Promise<string[]> {
    const lines = (await this.#lines?.next().catch(() => null)) ?? null
    if (lines === null) await this.#reattach()
    return lines ?? []
  }

  /** One try: whoever reads on finds out whether it helped. */
  async #reattach(): Promise<void> {
    this.#lines = null
    const delayMs = reattachDelaysMs[this.#breaks]
    this.#breaks += 1
    if (delayMs !== undefined) await delay(delayMs)
    if (delayMs === undefined || this.#isCancelled) {
      throw new AppError('queue_unavailable', 'The answer could not be read to its end. Try again shortly.')
    }
    const lines = await this.#reopen(this.#sequence).catch((error: unknown) => {
      if (error instanceof AppError && error.code === 'queue_unavailable') return null
      throw error
    })
    this.#lines = lines
    // Whoever left meanwhile could not cancel what was not there yet.
    if (this.#isCancelled) await lines?.cancel()
  }
}

class LineReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  #rest = ''

  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader()
  }

  /** Whole lines that arrived together, at least one; null at the end of the stream. */
  async next(): Promise<string[] | null> {
    for (;;) {
      const { done, value } = await this.#reader.read()
      if (done) return null
      const lines = (this.#rest + this.#decoder.decode(value, { stream: true })).split('\n')
      this.#rest = lines.pop() ?? ''
      if (lines.length > 0) return lines
    }
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel()
  }
}

async function openLog(
  env: Env,
  job: Omit<Attachment, 'after'>,
  response: Response,
  signal: AbortSignal,
): Promise<OpenJob> {
  if (response.body === null) throw unreachable(null)
  const reopen = async (after: number): Promise<LineReader> => {
    const { jobId, tenantId, graceMs } = job
    logWarning('log-taken-up-again', { jobId, after })
    const attachment: Attachment = { jobId, tenantId, after, graceMs }
    const again = await ask(env, jobId, brokerPaths.attach, attachment, signal)
    if (again.body === null) throw unreachable(null)
    return new LineReader(again.body)
  }
  return { jobId: job.jobId, opening: openingOf(response), log: new JobLog(new LineReader(response.body), reopen) }
}

async function ask(env: Env, jobId: JobId, path: string, body: object, signal: AbortSignal): Promise<Response> {
  const shard = shardOf(jobId, readSettings(env).shardCount)
  const stub = env.BROKER.get(env.BROKER.idFromName(brokerName(shard)))
  return reach(() => stub.fetch(`https://broker${path}`, { method: 'POST', body: JSON.stringify(body), signal }))
}

async function reach(call: () => Promise<Response>): Promise<Response> {
  let response: Response
  try {
    response = await call()
  } catch (cause) {
    // A client that left is no failure of ours.
    if (!(cause instanceof Error && cause.name === 'AbortError')) logError('broker-unreachable', cause)
    throw unreachable(cause)
  }
  if (response.ok || response.status === elsewhereStatus) return response
  const { code, message, ...options } = await response.json<Refusal>()
  throw new AppError(code, message, options)
}

/** @throws AppError when the line says that the stream breaks here. */
function decodeLine(line: string): LogEvent {
  if (line.startsWith(brokenMark)) {
    const { code, message, param } = JSON.parse(line.slice(brokenMark.length)) as Refusal
    throw new AppError(code, message, { param })
  }
  const afterSequence = line.indexOf(' ')
  return { sequence: Number(line.slice(0, afterSequence)), entry: decodeLogEntry(line.slice(afterSequence + 1)) }
}

function unreachable(cause: unknown): AppError {
  return new AppError('queue_unavailable', 'The request queue cannot be reached right now. Try again shortly.', {
    cause,
    retryAfterMs: 1_000,
  })
}
