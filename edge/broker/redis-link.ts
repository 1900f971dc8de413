/**
 * A Broker's one connection to Redis: commands and, over RESP3, the subscription to its shard's live channel.
 *
 * A connection is made when somebody needs it, lives, and dies; it is never repaired. Its death is told, and while
 * somebody waits for its successor one is tried again and again. It knows no job: whoever reads a log reads it again
 * from where it stood when `onUp` is called, because messages may have passed meanwhile.
 */
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { AppError } from '../../contract/errors.ts'
import { bullPrefix, channels, laneName } from '../../contract/keys.ts'
import { JobScripts } from '../../contract/scripts.ts'
import { logError, logWarning } from '../log.ts'
import { within } from '../within.ts'
import { scriptSources } from './script-sources.ts'

export interface Connection {
  readonly redis: Redis
  readonly scripts: JobScripts
  readonly lanes: readonly Queue[]
}

export interface LinkOptions {
  readonly url: string
  readonly shard: number
  readonly laneCount: number
  readonly onMessage: (message: string) => void
  readonly onUp: () => void
  /** Whether somebody waits for a connection although no command is under way. */
  readonly isNeeded: () => boolean
}

const connectTimeoutMs = 2_000
/** For all of a new connection: a socket may open and then say nothing. */
const openTimeoutMs = 4_000
/** Longer than any command of ours takes on a healthy server; a socket that stalls is given up. */
const commandTimeoutMs = 3_000
const retryFirstMs = 50
const retryMaxMs = 1_000

export class RedisLink {
  readonly #options: LinkOptions
  #connection: Connection | null = null
  #connecting: Promise<Connection> | null = null
  #retryMs = retryFirstMs
  #isRetrying = false
  /** Since when no connection could be had; null while there is one or none was needed. */
  #downSinceMs: number | null = null

  constructor(options: LinkOptions) {
    this.#options = options
  }

  get downSinceMs(): number | null {
    return this.#downSinceMs
  }

  /**
   * Runs commands on the connection, making one if there is none.
   * @throws AppError queue_unavailable when Redis does not answer; whether the commands took effect is then unknown.
   */
  async run<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#connected()
    try {
      return await work(connection)
    } catch (cause) {
      if (cause instanceof Error && cause.name === 'ReplyError') {
        if (!isServerState(cause.message)) throw cause
        // After a failover the address leads to the new primary, but only a new connection goes there.
        if (cause.message.startsWith('READONLY')) this.#drop(connection)
      } else if (isConnectionFailure(cause)) {
        this.#drop(connection)
      } else {
        throw cause
      }
      throw unavailable(cause)
    }
  }

  /** Tries until there is a connection, for as long as one is needed. */
  keepTrying(): void {
    if (this.#isRetrying || this.#connection !== null || !this.#options.isNeeded()) return
    this.#isRetrying = true
    setTimeout(() => {
      this.#isRetrying = false
      this.#retryMs = Math.min(this.#retryMs * 2, retryMaxMs)
      this.#connected().catch(() => this.keepTrying())
    }, this.#retryMs)
  }

  #connected(): Promise<Connection> {
    if (this.#connection !== null) return Promise.resolve(this.#connection)
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null
    })
    return this.#connecting
  }

  async #connect(): Promise<Connection> {
    const { url, shard, laneCount, onMessage, onUp } = this.#options
    const redis = new Redis(url, {
      lazyConnect: true,
      protocol: 3,
      connectTimeout: connectTimeoutMs,
      commandTimeout: commandTimeoutMs,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      disableClientInfo: true,
      retryStrategy: () => null,
    })
    // Failures show in the commands that wait; without a listener ioredis would print them.
    redis.on('error', () => undefined)
    redis.on('message', (_channel: string, message: string) => onMessage(message))
    try {
      const subscribed = redis.connect().then(() => redis.subscribe(channels.live(shard)))
      if ((await within(subscribed, openTimeoutMs)) === null) throw new Error(`No answer in ${openTimeoutMs} ms`)
    } catch (cause) {
      redis.disconnect()
      // Once an outage: what follows would say the same.
      if (this.#downSinceMs === null) logError('redis-unreachable', cause, { shard })
      this.#downSinceMs ??= Date.now()
      throw unavailable(cause)
    }
    const connection = {
      redis,
      scripts: new JobScripts(redis, scriptSources),
      lanes: Array.from({ length: laneCount }, (_, lane) => laneQueue(redis, lane)),
    }
    redis.once('close', () => this.#drop(connection))
    this.#connection = connection
    this.#downSinceMs = null
    this.#retryMs = retryFirstMs
    onUp()
    return connection
  }

  #drop(connection: Connection): void {
    if (this.#connection !== connection) return
    this.#connection = null
    this.#downSinceMs = Date.now()
    connection.redis.disconnect()
    logWarning('redis-link-lost', { shard: this.#options.shard })
    this.keepTrying()
  }
}

/** The queue object shares the connection; workers own the queue's meta data and version check. */
function laneQueue(redis: Redis, lane: number): Queue {
  const queue = new Queue(laneName(lane), {
    connection: redis,
    prefix: bullPrefix,
    skipMetasUpdate: true,
    skipVersionCheck: true,
  })
  queue.on('error', () => undefined)
  return queue
}

/** Redis answers, but not to this now: memory full, loading its files, or no longer the primary. */
function isServerState(message: string): boolean {
  return /^(OOM|LOADING|READONLY|MASTERDOWN|MISCONF|NOREPLICAS|BUSY|CLUSTERDOWN)\b/.test(message)
}

function isConnectionFailure(cause: unknown): boolean {
  if (!(cause instanceof Error) || cause instanceof AppError || cause.name === 'AssertionError') return false
  return (
    cause.name === 'MaxRetriesPerRequestError' ||
    cause.name === 'AbortError' ||
    'code' in cause ||
    /Command timed out|Connection is closed|Stream isn't writeable|Socket closed|connection/i.test(cause.message)
  )
}

function unavailable(cause: unknown): AppError {
  return new AppError('queue_unavailable', 'The request queue cannot be reached right now. Try again shortly.', {
    cause,
    retryAfterMs: 1_000,
  })
}
