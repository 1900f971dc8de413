/**
 * Clients of the reconciliation: each sends one request in one of the ways that clients have, and tells what it was told.
 *
 * They leave in mid-answer, send again what got no answer, and send twice at once; a refusal is tried again. They know no
 * books and no fault.
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import type { Dice } from '../fixtures/dice.ts'
import { readEvents } from '../fixtures/event-stream.ts'

export const clientKinds = [
  'stream',
  'whole',
  'leaves-stream',
  'leaves-whole',
  'twice-at-once',
  'again-after',
  'answer-lost',
  'too-long',
] as const
export type ClientKind = (typeof clientKinds)[number]

/** What one request said of itself. */
export interface Told {
  /** Null: whoever sent it left before it knew. */
  readonly jobId: string | null
  /** Null: it failed, or its client did not stay. */
  readonly usage: ToldUsage | null
}

const usageShape = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int() }),
  completion_tokens_details: z.object({ reasoning_tokens: z.int() }),
})
export type ToldUsage = z.infer<typeof usageShape>

const answerShape = z.object({ id: z.string(), usage: usageShape })
const chunkShape = z.object({
  id: z.string().optional(),
  usage: usageShape.nullish(),
  error: z.object({ code: z.string().nullable() }).optional(),
})
const idPrefix = 'chatcmpl-'
const requestDeadlineMs = 120_000
const retryMs = 100
const nobody: Told = { jobId: null, usage: null }

export interface Tenant {
  readonly id: string
  readonly keys: readonly string[]
}

export class Client {
  readonly #url: string
  readonly #key: string
  readonly #draw: Dice
  readonly #body: Readonly<Record<string, unknown>>
  /** So long an answer that leaving cuts it. */
  readonly #longBody: Readonly<Record<string, unknown>>

  /** @param number tells requests apart, and names its Idempotency-Key */
  constructor(url: string, model: string, tenants: readonly Tenant[], number: number, draw: Dice) {
    const tenant = tenants[draw(0, tenants.length - 1)]
    const key = tenant?.keys[draw(0, tenant.keys.length - 1)]
    assert(key !== undefined)
    this.#url = url
    this.#key = key
    this.#draw = draw
    const system = draw.chance(0.5) ? [{ role: 'system', content: 'Answer in one word. '.repeat(40) }] : []
    this.#body = {
      model,
      messages: [...system, { role: 'user', content: `Question ${number}: ${'why? '.repeat(draw(0, 30))}` }],
      max_tokens: draw(1, 16),
      seed: number,
      reasoning_effort: draw.chance(0.3) ? 'low' : 'none',
      service_tier: ['auto', 'default', 'flex', 'priority'][draw(0, 3)],
      // Many a token has one: then the answer is complete, where others end at max_tokens.
      ...(draw.chance(0.4) ? { stop: ['e'] } : {}),
    }
    this.#longBody = { ...this.#body, max_tokens: 400, stop: [] }
  }

  /** All that one client does. Whatever it sends again under one Idempotency-Key is one job. */
  async ask(kind: ClientKind, number: number): Promise<Told[]> {
    const idempotencyKey = `request-${number}`
    switch (kind) {
      case 'stream':
        return [await this.#stream(null)]
      case 'whole':
        return [await this.#whole(null)]
      case 'leaves-stream':
        return [await this.#stream(this.#draw(1, 6))]
      case 'leaves-whole':
        return [await this.#whole(null, this.#draw(0, 150))]
      case 'twice-at-once':
        return Promise.all([this.#whole(idempotencyKey), this.#whole(idempotencyKey)])
      case 'again-after':
        return [await this.#whole(idempotencyKey), await this.#whole(idempotencyKey)]
      case 'answer-lost':
        return [await this.#whole(idempotencyKey, this.#draw(0, 150)), await this.#whole(idempotencyKey)]
      case 'too-long': {
        const messages = [{ role: 'user', content: 'far too long '.repeat(1_000) }]
        const { status } = await this.#send({ ...this.#body, messages }, null, AbortSignal.timeout(requestDeadlineMs))
        assert.equal(status, 400)
        return [nobody]
      }
      default:
        return kind satisfies never
    }
  }

  /** @param leaveAfterMs null: it stays. */
  async #whole(idempotencyKey: string | null, leaveAfterMs: number | null = null): Promise<Told> {
    const signal = AbortSignal.timeout(leaveAfterMs ?? requestDeadlineMs)
    try {
      const isLong = leaveAfterMs !== null && idempotencyKey === null
      const response = await this.#send(isLong ? this.#longBody : this.#body, idempotencyKey, signal)
      const text = await response.text()
      if (!response.ok) return nobody
      const { id, usage } = answerShape.parse(JSON.parse(text))
      return { jobId: id.slice(idPrefix.length), usage }
    } catch (error) {
      if (leaveAfterMs !== null && signal.aborted) return nobody
      throw error
    }
  }

  /** @param leaveAfterFrames null: it stays. */
  async #stream(leaveAfterFrames: number | null): Promise<Told> {
    const leaving = new AbortController()
    const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(requestDeadlineMs)])
    let [jobId, frameCount]: [string | null, number] = [null, 0]
    let usage: ToldUsage | null = null
    try {
      const asked = leaveAfterFrames === null ? this.#body : this.#longBody
      const body = { ...asked, stream: true, stream_options: { include_usage: true } }
      for await (const { data } of readEvents(await this.#send(body, null, signal))) {
        if (data === null || data === '[DONE]') continue
        const chunk = chunkShape.parse(JSON.parse(data))
        jobId = chunk.id?.slice(idPrefix.length) ?? jobId
        usage = chunk.usage ?? usage
        frameCount += 1
        if (frameCount === leaveAfterFrames) leaving.abort()
      }
    } catch (error) {
      if (!leaving.signal.aborted) throw error
    }
    return { jobId, usage }
  }

  /** Until it is answered with anything but "not now". */
  async #send(body: object, idempotencyKey: string | null, signal: AbortSignal): Promise<Response> {
    const headers = {
      authorization: `Bearer ${this.#key}`,
      'content-type': 'application/json',
      ...(idempotencyKey === null ? {} : { 'idempotency-key': idempotencyKey }),
    }
    for (;;) {
      const init = { method: 'POST', headers, body: JSON.stringify(body), signal }
      const response = await fetch(`${this.#url}/v1/chat/completions`, init)
      if (response.status !== 503 && response.status !== 429) return response
      await response.body?.cancel()
      await delay(retryMs, undefined, { signal })
    }
  }
}
