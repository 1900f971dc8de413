/**
 * An order → what `admit` takes: the model resolved, the mode decided, the seed drawn, the cost bounded.
 *
 * Randomness and the fleet's state are arguments. It knows neither Redis nor any reader.
 */
import type { Admission } from '../../contract/admission.ts'
import { AppError } from '../../contract/errors.ts'
import type { ServedModel } from '../../contract/heartbeat.ts'
import type { JobRequest } from '../../contract/job.ts'
import { answerTokensGuess } from '../../contract/limits.ts'
import { freePrice } from '../../contract/money.ts'
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

/** @throws AppError model_not_ready, model_not_found. */
export function admissionOf(
  order: Order,
  fleet: FleetState,
  cell: { readonly shard: number; readonly laneCount: number; readonly random: (bytes: Uint8Array) => Uint8Array },
): Admission {
  const model = resolveModel(order.model, fleet.model)
  const request: JobRequest = { ...order.request, thinking: decideMode(order.mode, fleet.load) }
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
    tier: order.tier === 'auto' ? order.defaultTier : order.tier,
    limits: order.limits,
    keyExpiresAtMs: order.keyExpiresAtMs,
    ...tokensOf(request, model.contextTokens),
    price: freePrice,
    idempotency: order.idempotency,
  }
}

type TokenBounds = Pick<Admission, 'promptTokensMax' | 'answerTokensMax' | 'contextTokens' | 'fairTokens'>

/**
 * At the worst case a byte-level tokenizer makes one token of a byte; on average it makes one of about four. What exceeds
 * the context is refused by the worker, so the context bounds each.
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
