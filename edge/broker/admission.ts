/**
 * An order → what `admit` takes: model and tier granted, the mode decided, the seed drawn, tokens and cost bounded.
 *
 * Randomness, prices and the fleet's state are arguments. It knows neither Redis nor any reader.
 */
import type { Admission } from '../../contract/admission.ts'
import { AppError } from '../../contract/errors.ts'
import type { ServedModel } from '../../contract/heartbeat.ts'
import type { JobRequest } from '../../contract/job.ts'
import { answerTokensGuess } from '../../contract/limits.ts'
import type { TokenPrice } from '../../contract/money.ts'
import type { ServiceTier } from '../../contract/quota.ts'
import { decideMode } from '../mode.ts'
import type { FleetState } from './fleet.ts'
import type { Order } from './protocol.ts'

/** Tokens that a template may add: once, and around each message. */
const templateTokens = 64
const templateTokensPerMessage = 16
const bytesPerToken = 4
/** Integers that every JSON client can hold, so that a drawn seed can be sent again. */
const seedBits = 53

const utf8 = new TextEncoder()

/** An order that may be asked for: by a model that is served and a tier that the project has. */
export interface Entitlement {
  readonly model: ServedModel
  readonly tier: ServiceTier
}

/** @throws AppError model_not_ready, model_not_found, model_not_allowed, service_tier_not_allowed. */
export function entitle(order: Order, served: ServedModel | null): Entitlement {
  const model = resolveModel(order.model, served)
  if (!mayName(order.models, model)) {
    throw new AppError('model_not_allowed', 'This API key may not use this model. GET /v1/models lists what it may.', {
      param: 'model',
    })
  }
  const tier = order.tier === 'auto' ? order.defaultTier : order.tier
  if (order.tier !== 'auto' && !order.tiers.includes(tier)) {
    const wayOut = "Send 'auto', or have the tier allowed."
    throw new AppError('service_tier_not_allowed', `This project may not use service_tier '${tier}'. ${wayOut}`, {
      param: 'service_tier',
    })
  }
  return { model, tier }
}

/** An allow-list names a model by its id or any alias, and means all of its names. Null allows every model. */
export function mayName(
  models: readonly string[] | null,
  { id, aliases }: { readonly id: string; readonly aliases: readonly string[] },
): boolean {
  return models === null || models.includes(id) || aliases.some((alias) => models.includes(alias))
}

export function admissionOf(
  order: Order,
  { model, tier }: Entitlement,
  price: TokenPrice,
  load: FleetState['load'],
  cell: { readonly shard: number; readonly laneCount: number; readonly random: (bytes: Uint8Array) => Uint8Array },
): Admission {
  const request: JobRequest = { ...order.request, thinking: decideMode(order.mode, load) }
  return {
    jobId: order.jobId,
    tenantId: order.tenantId,
    keyId: order.keyId,
    model: model.id,
    isBackground: false,
    seed: order.seed === null ? drawSeed(cell.random) : BigInt(order.seed),
    request,
    shard: cell.shard,
    laneCount: cell.laneCount,
    tier,
    limits: order.limits,
    keyExpiresAtMs: order.keyExpiresAtMs,
    ...tokensOf(request, model.contextTokens),
    price,
    idempotency: order.idempotency,
  }
}

type TokenBounds = Pick<Admission, 'promptTokensMax' | 'answerTokensMax' | 'contextTokens' | 'fairTokens'>

/**
 * At the worst case a byte-level tokenizer makes one token of a byte; on average it makes one of about four. What
 * exceeds the context is refused by the worker, so the context bounds each.
 */
export function tokensOf(request: JobRequest, contextTokens: number): TokenBounds {
  let byteCount = 0
  for (const message of request.messages) {
    const reasoning = message.role === 'assistant' ? (message.reasoning_content ?? '') : ''
    byteCount += utf8.encode(message.content).length + utf8.encode(reasoning).length
  }
  const template = templateTokens + request.messages.length * templateTokensPerMessage
  const expectedAnswer = Math.min(request.maxTokens ?? answerTokensGuess, contextTokens)
  return {
    promptTokensMax: Math.min(template + byteCount, contextTokens),
    answerTokensMax: Math.min(request.maxTokens ?? contextTokens, contextTokens),
    contextTokens,
    fairTokens: Math.min(template + Math.ceil(byteCount / bytesPerToken) + expectedAnswer, contextTokens),
  }
}

function resolveModel(name: string, served: ServedModel | null): ServedModel {
  if (served === null) {
    throw new AppError('model_not_ready', 'No model is served yet. Try again when /readyz answers 200.', {
      retryAfterMs: 2_000,
    })
  }
  if (name !== served.id && !served.aliases.includes(name)) throw modelNotFound()
  return served
}

/** The name is the client's text, so it is not repeated. */
export function modelNotFound(): AppError {
  return new AppError('model_not_found', 'This model does not exist here. GET /v1/models lists what is served.', {
    param: 'model',
  })
}

function drawSeed(random: (bytes: Uint8Array) => Uint8Array): bigint {
  const bytes = random(new Uint8Array(8))
  const value = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0)
  return BigInt.asUintN(seedBits, value)
}
