/**
 * A client that carries a canary wherever a request has room for text, and keeps what it is answered as evidence.
 *
 * It does not know which answer is right.
 */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text as textOf } from 'node:stream/consumers'
import { type Canary, type Evidence, newCanary } from './canaries.ts'

export interface Probe {
  /** Absent: sent without one. */
  readonly key?: string
  readonly method?: 'GET' | 'POST' | 'DELETE'
  /** Becomes JSON; text goes out as it stands. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  /** Of an error, in the body or in a stream; null: it went well. */
  readonly code: string | null
  readonly text: string
}

const errorCode = /"error":\{[^}]*"code":"([a-z_]+)"/

export class Prober {
  readonly url: string
  readonly prompt = newCanary('prompt')
  readonly system = newCanary('system text')
  readonly idempotencyKey = newCanary('Idempotency-Key')
  readonly requestId = newCanary('x-request-id')
  /** Headers of all answers, bodies of errors: nothing of a client's may come back in them. */
  readonly refusals: Evidence[] = []
  /** Bodies of answers, which may hold a new key, and an answer its prompt. */
  readonly answers: Evidence[] = []
  /** Every error code that was seen. */
  readonly codes = new Set<string>()
  #sent = 0

  constructor(url: string) {
    this.url = url
  }

  get canaries(): Canary[] {
    return [this.prompt, this.system, this.idempotencyKey, this.requestId]
  }

  /** Unlike any other of this prober; holds the canary. */
  freshIdempotencyKey(): string {
    this.#sent += 1
    return `${this.idempotencyKey.text}-${this.#sent}`
  }

  async send(path: string, { key, method, body, headers = {}, signal }: Probe = {}): Promise<Answer> {
    const isText = typeof body === 'string' || body instanceof Uint8Array
    const response = await fetch(this.url + path, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: {
        'x-request-id': this.requestId.text,
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
    const place = `${method ?? 'request to'} ${path.slice(0, 60)}`
    return this.#keep(place, response.status, await response.text(), [...response.headers])
  }

  /** Sends the beginning of a body, and then nothing more. */
  async stall(path: string, key: string): Promise<Answer> {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': '1000' }
    const sent = request(this.url + path, { method: 'POST', headers })
    sent.write(`{"messages":"${this.prompt.text}`)
    // What emits `response` gives this.
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    const answer = this.#keep(`half a request to ${path}`, response.statusCode ?? 0, await textOf(response), [])
    sent.destroy()
    return answer
  }

  #keep(place: string, status: number, text: string, headers: readonly [string, string][]): Answer {
    const code = errorCode.exec(text)?.[1] ?? null
    if (code !== null) this.codes.add(code)
    const whole = `${place}: ${status} ${code ?? ''}`.trim()
    this.refusals.push({ place: `headers of ${whole}`, bytes: Buffer.from(JSON.stringify(headers)) })
    const kept = status >= 400 || code !== null ? this.refusals : this.answers
    kept.push({ place: `body of ${whole}`, bytes: Buffer.from(text) })
    return { status, code, text }
  }

  /** Asks with both canaries in its messages. */
  chat(key: string, model: string, changes: object = {}, probe: Probe = {}): Promise<Answer> {
    const messages = [
      { role: 'system', content: `Keep this: ${this.system.text}` },
      { role: 'user', content: `Say nothing of ${this.prompt.text}` },
    ]
    const body = { model, messages, max_completion_tokens: 8, ...changes }
    return this.send('/v1/chat/completions', { key, body, ...probe })
  }
}
