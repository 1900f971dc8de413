/**
 * The Admin API as commands of the terminal call it: where it is, which key opens it, one error for whatever it
 * refuses.
 *
 * A change that got no answer is sent again under the same Idempotency-Key, so it is never made twice. It knows no
 * resource; the key goes to that URL alone and into no message.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { dataDirectory } from '../local/settings.ts'

const requestDeadlineMs = 30_000
const attemptsMax = 3
const retryPauseMs = 500
/** A wait that a person at a terminal takes for an answer. */
const retryPauseMaxMs = 10_000
const pageItems = 100

export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>

export interface Access {
  /** Without a slash at its end. */
  readonly url: string
  readonly key: string
}

interface Call {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** From `/v1` on. */
  readonly path: string
  readonly query?: Query | undefined
  readonly body?: object | undefined
}

const readySchema = z.object({ url: z.url(), adminKey: z.string(), redisUrl: z.string() })
const errorSchema = z.object({ error: z.object({ message: z.string(), code: z.string().nullable() }) })
const pageSchema = z.object({ data: z.array(z.unknown()), has_more: z.boolean(), last_id: z.string().nullish() })

/** The API said no, in its own words. */
export class ApiRefusal extends Error {
  override readonly name = 'ApiRefusal'
  readonly status: number
  readonly code: string | null

  constructor(status: number, code: string | null, message: string) {
    super(`${message} (${code ?? `HTTP ${status}`})`)
    this.status = status
    this.code = code
  }
}

export class AdminApi {
  readonly #access: Access

  constructor(access: Access) {
    this.#access = access
  }

  async get<T>(path: string, schema: z.ZodType<T>, query?: Query): Promise<T> {
    return schema.parse(JSON.parse(await this.text(path, query)))
  }

  /** As it came: JSON or, where the query asks for it, CSV. */
  text(path: string, query?: Query): Promise<string> {
    return this.#send({ method: 'GET', path, query })
  }

  async post<T>(path: string, schema: z.ZodType<T>, body: object): Promise<T> {
    return schema.parse(JSON.parse(await this.#send({ method: 'POST', path, body })))
  }

  async delete(path: string): Promise<void> {
    await this.#send({ method: 'DELETE', path })
  }

  /** All items of a list, page by page, or the first `itemsMax`. */
  async list<T>(
    path: string,
    schema: z.ZodType<T>,
    query: Query = {},
    itemsMax = Number.POSITIVE_INFINITY,
  ): Promise<T[]> {
    const items: T[] = []
    let after: string | undefined
    while (items.length < itemsMax) {
      const limit = Math.min(pageItems, itemsMax - items.length)
      const page = await this.get(path, pageSchema, { ...query, limit, after })
      items.push(...page.data.map((item) => schema.parse(item)))
      if (!page.has_more) break
      after = page.last_id ?? undefined
    }
    return items
  }

  async #send(call: Call): Promise<string> {
    const idempotencyKey = randomUUID()
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.#attempt(call, idempotencyKey, attempt === attemptsMax)
      if (answer === null) {
        await delay(retryPauseMs)
        continue
      }
      const text = await answer.text()
      if (answer.ok) return text
      if (attempt === attemptsMax || answer.headers.get('x-should-retry') !== 'true') throw refusalOf(answer, text)
      await delay(Math.min(Number(answer.headers.get('retry-after-ms') ?? retryPauseMs), retryPauseMaxMs))
    }
  }

  /** @returns null where nobody answered and asking again is harmless: a deletion may have been done. */
  async #attempt(call: Call, idempotencyKey: string, isLast: boolean): Promise<Response | null> {
    const { method, path, query, body } = call
    const headers = new Headers({ authorization: `Bearer ${this.#access.key}` })
    if (method === 'POST') headers.set('idempotency-key', idempotencyKey)
    if (body !== undefined) headers.set('content-type', 'application/json')
    try {
      return await fetch(`${this.#access.url}${path}${searchOf(query ?? {})}`, {
        method,
        headers,
        signal: AbortSignal.timeout(requestDeadlineMs),
        redirect: 'error',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    } catch (error) {
      if (!isLast && method !== 'DELETE') return null
      throw new Error(`${this.#access.url} does not answer: ${reasonOf(error)}`, { cause: error })
    }
  }
}

/** @throws Error saying how to name a deployment where none is named and none runs here. */
export function openAdminApi(environment: NodeJS.ProcessEnv): AdminApi {
  const url = environment['AXLE_URL']?.trim() ?? ''
  const key = environment['AXLE_ADMIN_KEY']?.trim() ?? ''
  if (url !== '' && key !== '') return new AdminApi({ url: apiUrl(url), key })
  if (url !== '' || key !== '') throw new Error('AXLE_URL and AXLE_ADMIN_KEY go together: set both, or neither')
  const { url: localUrl, adminKey } = readReadyFile(environment)
  return new AdminApi({ url: apiUrl(localUrl), key: adminKey })
}

/** @throws Error where a key would travel in clear text, or it is no URL. */
export function apiUrl(text: string): string {
  if (!URL.canParse(text)) throw new Error(`Expected the URL of a deployment, got '${text}'`)
  const { protocol, hostname, origin } = new URL(text)
  const isLocal = ['127.0.0.1', 'localhost', '[::1]'].includes(hostname)
  if (protocol === 'https:' || (protocol === 'http:' && isLocal)) return origin
  throw new Error(`A key is sent over https:// only, or to this machine: got ${origin}`)
}

/** @throws Error where nothing runs here. */
export function readReadyFile(environment: NodeJS.ProcessEnv): z.infer<typeof readySchema> {
  const path = join(dataDirectory(environment), 'ready.json')
  try {
    return readySchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    throw new Error(
      `Nothing runs here: ${path} cannot be read. Start Axle with npm start, or name a deployment by AXLE_URL and AXLE_ADMIN_KEY.`,
      { cause: error },
    )
  }
}

/** Arrays as OpenAI's SDK sends them: `name[]=a&name[]=b`. */
function searchOf(query: Query): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (typeof value === 'object') for (const item of value) parameters.append(`${name}[]`, item)
    else if (value !== undefined) parameters.append(name, String(value))
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`
}

function refusalOf(answer: Response, text: string): ApiRefusal {
  const parsed = errorSchema.safeParse(jsonOf(text))
  if (!parsed.success) return new ApiRefusal(answer.status, null, 'The answer is none of this API: is the URL right?')
  const { message, code } = parsed.data.error
  return new ApiRefusal(answer.status, code, message)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // a proxy's page: the schema refuses it
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message || error.message : error.message
}
