/**
 * The Lua scripts as typed calls: the only way a job record or a token log changes.
 *
 * One loader for every process: it takes the sources as text, since Node reads files and the edge bundles them. What a
 * script promises stands in the header of its `.lua` file, not here.
 */
import assert from 'node:assert/strict'
import type { Redis } from 'ioredis'
import { decodeAdmitReply, encodeTerms, type Admission, type AdmitResult } from './admission.ts'
import type { ErrorFacts } from './errors.ts'
import { encodeLogEntry, type FinishReason, type LogEntry } from './event.ts'
import type { JobId } from './ids.ts'
import { decodeJobRecord, encodeJobRequest, type EndStatus, type JobRecord } from './job.ts'
import { channels, keys } from './keys.ts'
import * as limits from './limits.ts'

const scriptNames = [
  'admit',
  'queued',
  'claim',
  'append',
  'finish',
  'cancel',
  'expire',
  'seed-spend',
  'rebase',
] as const
type ScriptName = (typeof scriptNames)[number]
const includeNames = [
  'clock',
  'state',
  'month',
  'window',
  'quota',
  'fair',
  'leave-queue',
  'swap-reservation',
  'end-job',
  'end-keys',
  'admit-writes',
] as const
export type IncludeName = (typeof includeNames)[number]

/** Text of every `.lua` file. */
export interface ScriptSources {
  readonly scripts: Readonly<Record<ScriptName, string>>
  readonly includes: Readonly<Record<IncludeName, string>>
}

export type ClaimResult =
  | { readonly kind: 'claimed'; readonly record: JobRecord }
  | { readonly kind: 'missing' | 'terminal' | 'revoked' | 'cancelled' }

export interface AppendResult {
  readonly code: 'ok' | 'fenced' | 'conflict' | 'gap' | 'missing'
  /** The job was asked to end: drop it within a step. */
  readonly isCancelled: boolean
}

export interface Ending {
  readonly status: EndStatus
  readonly finishReasons: readonly FinishReason[]
  readonly error: ErrorFacts | null
  readonly promptTokens: number
  readonly cachedTokens: number
}

/** Before the first row of the usage stream. */
export const usageStart = '0-0'

type Reply = string | number | readonly (string | number)[]
type Command = (keyCount: number, ...keysAndArguments: (string | number)[]) => Promise<Reply>

export class JobScripts {
  readonly #commands: Readonly<Record<ScriptName, Command>>

  /** Defines the scripts on `redis`; ioredis sends each by its SHA-1 once the server knows it. */
  constructor(redis: Redis, sources: ScriptSources) {
    const define = (name: ScriptName): Command => {
      const command = `axle:${name}`
      redis.defineCommand(command, { lua: assemble(name, sources) })
      // ioredis adds the command as a method that its types cannot know.
      const methods = redis as unknown as Record<string, Command>
      return (...argumentsOfCommand) => {
        const method = methods[command]
        assert(method !== undefined, `ioredis defined ${command}`)
        return method.apply(redis, argumentsOfCommand)
      }
    }
    this.#commands = {
      admit: define('admit'),
      queued: define('queued'),
      claim: define('claim'),
      append: define('append'),
      finish: define('finish'),
      cancel: define('cancel'),
      expire: define('expire'),
      'seed-spend': define('seed-spend'),
      rebase: define('rebase'),
    }
  }

  async admit(admission: Admission): Promise<AdmitResult> {
    const { jobId, tenantId, idempotency, request } = admission
    const job = keys.job(jobId)
    const slot = idempotency === null ? job : keys.idempotency(tenantId, idempotency.keyDigest)
    const reply = await this.#call(
      'admit',
      [
        job,
        slot,
        keys.open,
        keys.laneLoad,
        keys.fair,
        keys.revoked,
        keys.clockOffset,
        keys.quota(tenantId),
        keys.cell,
        keys.usage,
      ],
      [
        jobId,
        tenantId,
        admission.keyId,
        admission.model,
        request.thinking.think ? 1 : 0,
        admission.isBackground ? 1 : 0,
        admission.seed.toString(),
        encodeJobRequest(request),
        channels.live(admission.shard),
        admission.laneCount,
        idempotency?.bodyDigest ?? '',
        encodeTerms(admission),
      ],
    )
    const result = decodeAdmitReply(list(reply), admission.limits)
    if (result === null) throw unexpected('admit', reply)
    return result
  }

  async queued(jobId: JobId): Promise<void> {
    await this.#call('queued', [keys.job(jobId)], [])
  }

  async claim(jobId: JobId, workerId: string): Promise<ClaimResult> {
    const reply = await this.#call('claim', [...endKeys(jobId), keys.revoked], [jobId, workerId, limits.outboxRowsMax])
    const [kind, ...flat] = list(reply)
    switch (kind) {
      case 'claimed': {
        const hash: Record<string, string> = {}
        for (let i = 0; i + 1 < flat.length; i += 2) hash[String(flat[i])] = String(flat[i + 1])
        return { kind, record: decodeJobRecord(jobId, hash) }
      }
      case 'missing':
      case 'terminal':
      case 'revoked':
      case 'cancelled':
        return { kind }
      default:
        throw unexpected('claim', reply)
    }
  }

  /** @param sequence the entry's place in the log: one more than the entries before it. */
  async append(jobId: JobId, epoch: number, sequence: number, entry: LogEntry): Promise<AppendResult> {
    const tokens =
      entry.kind === 'token'
        ? [entry.choice, entry.index, entry.tokenIds.length, entry.channel === 'reasoning' ? 1 : 0]
        : ['', 0, 0, 0]
    const reply = await this.#call(
      'append',
      [keys.job(jobId), keys.log(jobId), keys.cell],
      [jobId, epoch, sequence, encodeLogEntry(entry), ...tokens, entry.kind === 'start' ? entry.promptTokens : ''],
    )
    const [code, cancel] = list(reply)
    switch (code) {
      case 'ok':
      case 'fenced':
      case 'conflict':
      case 'gap':
      case 'missing':
        return { code, isCancelled: Number(cancel) === 1 }
      default:
        throw unexpected('append', reply)
    }
  }

  async finish(jobId: JobId, epoch: number, ending: Ending): Promise<'ok' | 'fenced' | 'missing'> {
    const reply = await this.#call('finish', endKeys(jobId), [
      jobId,
      epoch,
      ending.status,
      JSON.stringify(ending.finishReasons),
      JSON.stringify(ending.error),
      ending.promptTokens,
      ending.cachedTokens,
      limits.outboxRowsMax,
    ])
    if (reply === 'ok' || reply === 'fenced' || reply === 'missing') return reply
    throw unexpected('finish', reply)
  }

  async cancel(jobId: JobId): Promise<'cancelled' | 'cancelling' | 'terminal' | 'missing'> {
    const reply = await this.#call('cancel', endKeys(jobId), [jobId, channels.cancel, limits.outboxRowsMax])
    if (reply === 'cancelled' || reply === 'cancelling' || reply === 'terminal' || reply === 'missing') return reply
    throw unexpected('cancel', reply)
  }

  async expire(
    jobId: JobId,
    ageMaxMs: number,
    error: ErrorFacts,
  ): Promise<'expired' | 'young' | 'terminal' | 'missing' | 'discarded'> {
    const reply = await this.#call('expire', endKeys(jobId), [
      jobId,
      ageMaxMs,
      JSON.stringify(error),
      limits.outboxRowsMax,
    ])
    const known = ['expired', 'young', 'terminal', 'missing', 'discarded'] as const
    const result = known.find((each) => each === reply)
    if (result !== undefined) return result
    throw unexpected('expire', reply)
  }

  /**
   * @param readTo id of the newest usage row that was looked at for `spentNano`; later ones are added to it.
   * @returns false when the tenant's month is known already, or Redis is in another one.
   */
  async seedSpend(tenantId: string, month: number, spentNano: number, readTo = usageStart): Promise<boolean> {
    const scriptKeys = [keys.quota(tenantId), keys.clockOffset, keys.usage]
    return (await this.#call('seed-spend', scriptKeys, [month, spentNano, tenantId, readTo])) === 1
  }

  /** Moves the zero of priorities up to virtual time, when they have grown large. */
  async rebase(): Promise<{ base: number; isMoved: boolean }> {
    const [base, isMoved] = list(
      await this.#call('rebase', [keys.fair], [limits.rebaseSteps, limits.tokensPerPriority]),
    )
    return { base: Number(base), isMoved: isMoved === 1 }
  }

  #call(name: ScriptName, scriptKeys: readonly string[], argv: readonly (string | number)[]): Promise<Reply> {
    return this.#commands[name](scriptKeys.length, ...scriptKeys, ...argv)
  }
}

/** The keys every script that can end a job begins with. */
function endKeys(jobId: JobId): string[] {
  const { open, laneLoad, usage, outbox, fair, cell, clockOffset } = keys
  return [keys.job(jobId), keys.log(jobId), open, laneLoad, usage, outbox, fair, cell, clockOffset]
}

function assemble(name: ScriptName, sources: ScriptSources): string {
  return sources.scripts[name].replaceAll(/^--@include (\S+)$/gm, (_line, include: string) => {
    const known = includeNames.find((candidate) => candidate === include)
    assert(known !== undefined, `${name}.lua includes a file that exists, not ${include}`)
    return sources.includes[known]
  })
}

function list(reply: Reply): readonly (string | number)[] {
  return typeof reply === 'object' ? reply : [reply]
}

function unexpected(name: ScriptName, reply: Reply): TypeError {
  const [code] = list(reply)
  return new TypeError(`Script ${name} returned ${String(code)}, which its header does not list`)
}
