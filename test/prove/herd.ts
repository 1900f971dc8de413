/**
 * `npm run prove -- herd`: a crowd of streams loses its gateway at once, comes back as each was told to (`retry:`), and
 * reads on: every answer whole, every job one, one bill each, and a bounded number of Redis commands a client.
 *
 * The gateway is the bundle that ships, in real workerd; the worker is scripted, so that the crowd waits where we want it.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { keys } from '../../contract/keys.ts'
import { reconnectMs } from '../../contract/limits.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'
import { startRedis } from '../fixtures/redis.ts'
import { startScriptedWorker, testModel } from '../fixtures/scripted-worker.ts'

const laneCount = 2
const words = ['one ', 'two ', 'three']
const deadlineMs = 300_000
/** They come one by one in life; it is their return that is tried. */
const arrivingAtOnce = 250
/** About 14, those within scripts among them: the slot, what is left of the limits, the record, the log. */
const commandsPerTryMax = 20
/** What a crowd that waits costs anyway, readers' looks into their logs, is measured for so long. */
const quietMs = 15_000
/** Of the moments at which clients come back, the most that may fall into a tenth of the time over which they are spread. */
const tenthShareMax = 0.2

/** A client as EventSource is one: it keeps its place and waits as long as it was told before it asks again. */
class StreamClient {
  text = ''
  retryMs: number | null = null
  isDone = false
  isBack = false
  refusals = 0
  /** When it asked again, first: ms of a monotonic clock. */
  cameBackAtMs: number | null = null
  #lastEventId: string | null = null
  readonly #key: string

  constructor(key: string) {
    this.#key = key
  }

  /** Asks and reads until the answer's end, over as many connections as that takes. */
  async follow(edge: () => TestEdge, signal: AbortSignal): Promise<void> {
    const body = { model: testModel.id, stream: true, messages: [{ role: 'user', content: this.#key }] }
    while (!this.isDone) {
      signal.throwIfAborted()
      const place = this.#lastEventId === null ? {} : { 'last-event-id': this.#lastEventId }
      const headers = { 'idempotency-key': this.#key, ...place }
      try {
        const response = await edge().chat(body, { headers, signal })
        if (response.status === 200) {
          this.isBack = this.cameBackAtMs !== null
          await this.#read(response)
        } else {
          assert.equal(response.headers.get('x-should-retry'), 'true', `${response.status} says to try again`)
          this.refusals += 1
          await response.arrayBuffer()
        }
      } catch (error) {
        // The gateway is gone; that is what this is about.
        if (!(error instanceof TypeError)) throw error
      }
      if (this.isDone) return
      await delay(this.retryMs ?? reconnectMs.from, undefined, { signal })
      this.cameBackAtMs ??= performance.now()
    }
  }

  async #read(response: Response): Promise<void> {
    assert(response.body !== null)
    const decoder = new TextDecoder()
    let rest = ''
    for await (const bytes of response.body) {
      const events = (rest + decoder.decode(bytes, { stream: true })).split('\n\n')
      rest = events.pop() ?? ''
      for (const event of events) this.#hear(event)
    }
  }

  #hear(event: string): void {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(event)?.[1] ?? null
    this.retryMs = Number(field('retry') ?? this.retryMs) || null
    this.#lastEventId = field('id') ?? this.#lastEventId
    const data = field('data')
    if (data === '[DONE]') this.isDone = true
    else if (data !== null) {
      const chunk: { choices: { delta: { content?: string } }[] } = JSON.parse(data)
      this.text += chunk.choices[0]?.delta.content ?? ''
    }
  }
}

export async function herd({ full }: { readonly full: boolean }): Promise<void> {
  const clientCount = full ? 5_000 : 500
  const server = await startRedis()
  const redis = server.connect()
  const stateFolder = await mkdtemp(join(tmpdir(), 'axle-herd-'))
  let edge = await startTestEdge(server.url, { laneCount, stateFolder })
  const worker = await startScriptedWorker(server, laneCount)
  const crowd = new AbortController()
  try {
    const clients = Array.from({ length: clientCount }, (_, index) => new StreamClient(`client-${index}`))
    const { signal } = crowd
    const following: Promise<void>[] = []
    for (let from = 0; from < clientCount; from += arrivingAtOnce) {
      const arriving = clients.slice(from, from + arrivingAtOnce)
      following.push(...arriving.map((client) => client.follow(() => edge, signal)))
      for (const each of following) each.catch(() => undefined) // awaited below, unless something else fails first
      await until(() => arriving.every(({ retryMs }) => retryMs !== null), 'every client is told when to come back')
    }
    const told = clients.map(({ retryMs }) => retryMs ?? 0)
    const { from, below } = reconnectMs
    assert(Math.min(...told) >= from && Math.max(...told) < below, 'Everyone is told a time within the bounds')
    assert(largestTenth(told, from, below) <= tenthShareMax, 'Clients are told times that are spread')

    // One that was lost in the crowd before does not count.
    for (const client of clients) [client.cameBackAtMs, client.isBack] = [null, false]
    await redis.config('RESETSTAT')
    await delay(quietMs)
    const commandsPerQuietMs = (await commandCount(redis)) / quietMs
    await redis.config('RESETSTAT')
    const stoppedAtMs = performance.now()
    const { port } = new URL(edge.url)
    const { tenantKey, adminKey } = edge
    await edge.stop()
    const goneAtMs = performance.now()
    edge = await startTestEdge(server.url, { laneCount, stateFolder, port: Number(port), tenantKey, adminKey })
    const awayMs = performance.now() - goneAtMs
    await until(() => clients.every(({ isBack }) => isBack), 'every client comes back')
    const commandsAnyway = (performance.now() - stoppedAtMs) * commandsPerQuietMs
    const commandsAsked = await commandCount(redis)
    const tryCount = clientCount + clients.reduce((sum, client) => sum + client.refusals, 0)
    const perTry = (commandsAsked - commandsAnyway) / tryCount
    await Promise.all([...following, answerAll(worker, clientCount)])
    const cameBack = clients.map(({ cameBackAtMs }) => (cameBackAtMs ?? 0) - stoppedAtMs)
    const spreadShare = largestTenth(cameBack, Math.min(...cameBack), Math.max(...cameBack))

    const whole = words.join('')
    assert(
      clients.every(({ text }) => text === whole),
      'Every answer is whole, and nothing in it comes twice',
    )
    assert.equal(await redis.xlen(keys.usage), clientCount, 'Every client has one job and one bill')
    assert.equal(await redis.zcard(keys.open), 0, 'Nothing is left open')
    console.log(
      `  ${clientCount} streams, gateway away for ${(awayMs / 1_000).toFixed(1)} s: all back between ` +
        `${Math.min(...cameBack).toFixed(0)} and ${Math.max(...cameBack).toFixed(0)} ms, at most ` +
        `${(spreadShare * 100).toFixed(0)} % of them in a tenth of that; ${tryCount - clientCount} refusals; ` +
        `${(commandsAsked / clientCount).toFixed(1)} Redis commands a client, ${perTry.toFixed(1)} a try beyond what ` +
        'waiting costs anyway; all answers whole, one bill each',
    )
    assert(perTry <= commandsPerTryMax, `Redis is asked ${perTry} times a try, ${commandsPerTryMax} at most`)
  } finally {
    crowd.abort()
    await worker.stop()
    await edge.stop()
    await server.stop()
    await rm(stateFolder, { recursive: true, force: true })
  }
}

async function answerAll(
  worker: { next: () => Promise<{ answer: (texts: string[]) => Promise<void> }> },
  count: number,
) {
  for (let answered = 0; answered < count; answered++) await (await worker.next()).answer(words)
}

/** The largest share of values that lie in one of ten equal parts of their range. */
function largestTenth(values: readonly number[], from: number, below: number): number {
  const counts = Array.from({ length: 10 }, () => 0)
  for (const value of values) {
    const tenth = Math.min(9, Math.floor(((value - from) / (below - from)) * 10))
    counts[tenth] = (counts[tenth] ?? 0) + 1
  }
  return Math.max(...counts) / values.length
}

/** Since the statistics were reset, those within scripts and of an idle worker among them. */
async function commandCount(redis: Redis): Promise<number> {
  const stats = await redis.info('commandstats')
  return [...stats.matchAll(/:calls=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  for (const signal = AbortSignal.timeout(deadlineMs); !isTrue();) {
    if (signal.aborted) throw new Error(`Within ${deadlineMs} ms ${what}`)
    await delay(20)
  }
}
