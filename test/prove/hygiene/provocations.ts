/**
 * Requests that go well and requests that go wrong in every way a client or an operator can bring about, canaries in all.
 *
 * It judges no answer: which codes were seen is judged by whoever asked. Keys that are made on the way are told to it.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { newKey } from '../../../contract/key-format.ts'
import { bodyBytesMax } from '../../../contract/limits.ts'
import { failuresMax } from '../../../edge/auth/failure-budget.ts'
import { type Canary, secretOf } from './canaries.ts'
import type { Answer, Probe, Prober } from './prober.ts'

export interface Target {
  readonly prober: Prober
  readonly model: string
  readonly tenantKey: string
  readonly adminKey: string
  readonly bootstrapSecret: string
  /** Takes the secret of every key that is made. */
  readonly secrets: Canary[]
}

/** Of requests under one key; which of them meet is the machine's. */
const racesMax = 50
const chatPath = '/v1/chat/completions'
const organization = '/v1/organization'
const madeKey = z.object({ id: z.string(), value: z.string() })
const madeThing = z.object({ id: z.string() })

/** Before anything is asked: a price is remembered for a while, and so is that there is none. */
export async function setPrice({ prober, model, adminKey: key }: Target): Promise<void> {
  const body = { model, input: 1, cached_input: 0.5, output: 1_000 }
  await prober.send(`${organization}/prices`, { key, body })
}

/** Whole, streamed, thinking, repeated under one key, with chances, and left by its client. */
export async function askWell({ prober, model, tenantKey: key }: Target): Promise<void> {
  const probe = { headers: { 'idempotency-key': prober.freshIdempotencyKey() } }
  const named = { stop: [prober.prompt.text], user: prober.prompt.text }
  const answers = [
    await prober.chat(key, model),
    await prober.chat(key, model, { stream: true, stream_options: { include_usage: true } }),
    await prober.chat(key, model, { reasoning_effort: 'high', stream: true }),
    await prober.chat(key, model, { logprobs: true, top_logprobs: 2 }),
    await prober.chat(key, model, named, probe),
    await prober.chat(key, model, named, probe),
    await prober.send('/v1/models', { key }),
    await prober.send(`/v1/models/${model}`, { key }),
    await prober.send('/readyz'),
  ]
  const failed = answers.filter(({ status, code }) => status !== 200 || code !== null)
  if (failed.length > 0) throw new Error(`What should go well does not: ${failed.map(({ code }) => code).join()}`)
  const leaving = { signal: AbortSignal.timeout(300) }
  const left = prober.chat(key, model, { stream: true, max_completion_tokens: 1_500 }, leaving)
  await left.catch(() => undefined) // it left before the end, or the answer was faster
}

/** Bodies, headers and paths that are wrong. */
export async function askWrongly({ prober, model, tenantKey: key }: Target): Promise<void> {
  const { text } = prober.prompt
  const long = [{ role: 'user', content: `${text} `.repeat(2_000) }]
  const tools = [{ type: 'function', function: { name: 'f', description: text } }]
  for (const body of [
    `{"model":"${model}","messages":[{"content":"${text}"`,
    Buffer.concat([Buffer.from(`{"a":"${text}`), Buffer.from([0xff, 0xfe])]),
    JSON.stringify({ model, messages: text.repeat(Math.ceil(bodyBytesMax / text.length)) }),
  ])
    await prober.send(chatPath, { key, body })
  for (const changes of [
    { messages: text },
    { temperature: text },
    { messages: [{ role: text, content: text }] },
    { messages: [{ role: 'user' }] },
    { service_tier: text },
    { extra: text },
    { tools },
    { reasoning_effort: 'none', thinking: { type: 'enabled' } },
    { messages: long },
    { messages: long, stream: true },
    { model: 'unheard-of' },
    { logit_bias: { 99_999_999: 1 } },
  ])
    await prober.chat(key, model, changes)
  await prober.send(`/v1/${text}`, { key })
  await prober.send(`/v1/models/${text}`, { key })
  await prober.send(`${chatPath}?key=${key}&prompt=${text}`, { key, method: 'DELETE' })
  await prober.send(chatPath, { key, body: text, headers: { 'content-type': `text/${text}` } })
  const once = { headers: { 'idempotency-key': prober.freshIdempotencyKey() } }
  await prober.chat(key, model, { seed: 1 }, once)
  await prober.chat(key, model, { seed: 2 }, once)
  await prober.chat(key, model, {}, { headers: { 'idempotency-key': `${prober.idempotencyKey.text} apart` } })
  await prober.chat(key, model, {}, { headers: { 'last-event-id': prober.prompt.text } })
}

/** Keys that are missing, wrong, in the wrong place, or not allowed to do what they try. */
export async function knock({ prober, model, tenantKey, adminKey, secrets }: Target): Promise<void> {
  const stranger = newKey('live', randomBytes)
  secrets.push(secretOf('unknown key', stranger))
  const address = { 'cf-connecting-ip': '203.0.113.9' }
  await prober.send(`/v1/models?api_key=${tenantKey}`)
  await prober.send('/v1/models', { key: `${tenantKey}x` })
  await prober.send('/v1/models', { key: prober.prompt.text })
  await prober.send('/v1/models', { key: `${tenantKey}, Bearer ${adminKey}` })
  for (let tries = 0; tries <= failuresMax; tries++)
    await prober.send('/v1/models', { key: stranger, headers: address })
  await prober.chat(adminKey, model)
  await prober.send(`${organization}/projects`, { key: tenantKey })
  await prober.send(`${organization}/usage/completions?start_time=0`, { key: adminKey })
}

/** Everything an operator does, keys made, rotated and refused on the way; limits and budgets that are reached. */
export async function administrate(target: Target): Promise<void> {
  const { prober, model, adminKey, bootstrapSecret, secrets } = target
  const admin = (path: string, body?: unknown, probe: Probe = {}): Promise<Answer> =>
    prober.send(`${organization}${path}`, {
      key: adminKey,
      ...(body === undefined ? {} : { body }),
      headers: body === undefined ? {} : { 'idempotency-key': prober.freshIdempotencyKey() },
      ...probe,
    })
  const keyFrom = ({ text }: Answer, name: string) => {
    const made = madeKey.parse(JSON.parse(text))
    secrets.push(secretOf(name, made.value))
    return made
  }
  const project = async (name: string) => madeThing.parse(JSON.parse((await admin('/projects', { name })).text)).id
  const projectKey = async (id: string, fields: object = {}) =>
    keyFrom(await admin(`/projects/${id}/api_keys`, { name: 'made', ...fields }), 'made key')

  for (const secret of [prober.prompt.text, bootstrapSecret, bootstrapSecret]) {
    const answer = await prober.send(`${organization}/bootstrap`, { key: secret, method: 'POST' })
    if (answer.status === 200) keyFrom(answer, 'bootstrapped key')
  }
  const id = await project('first')
  const path = `/projects/${id}`
  const plain = await projectKey(id)
  await prober.chat(plain.value, model)
  await prober.chat(plain.value, model, { service_tier: 'priority' })
  await prober.chat((await projectKey(id, { models: ['another'] })).value, model)
  await prober.chat((await projectKey(id, { ip_allowlist: ['10.0.0.0/8'] })).value, model)
  const usageKey = await projectKey(id, { scopes: ['usage'] })
  await prober.chat(usageKey.value, model)
  await prober.send(`${organization}/usage/jobs?start_time=0`, { key: usageKey.value })
  const brief = await projectKey(id, { expires_in_seconds: 1 })
  keyFrom(await admin(`${path}/api_keys/${plain.id}/rotate`, {}), 'rotated key')
  await admin(`${path}/api_keys/${plain.id}`, undefined, { method: 'DELETE' })
  await prober.chat(plain.value, model)
  await admin(`${path}/api_keys`, { name: prober.system.text.repeat(9), scopes: [prober.prompt.text] })
  await admin(`/projects/${prober.prompt.text}`)
  await admin('/projects', `{"name":"${prober.prompt.text}`)

  // One key, one body and another: replayed, then refused.
  const again = { headers: { 'idempotency-key': prober.freshIdempotencyKey() } }
  for (let i = 0; i < 2; i++) keyFrom(await admin(`${path}/api_keys`, { name: 'twice' }, again), 'replayed key')
  await admin(`${path}/api_keys`, { name: 'other' }, again)
  for (let race = 0; race < racesMax && !prober.codes.has('idempotency_in_progress'); race++) {
    const racing = { headers: { 'idempotency-key': prober.freshIdempotencyKey() } }
    await Promise.all(Array.from({ length: 8 }, () => admin('/projects', { name: 'raced' }, racing)))
  }

  const slow = await project('slow')
  await admin(`/projects/${slow}/rate_limits/rl_${slow}`, { max_requests_per_1_minute: 0 })
  await prober.chat((await projectKey(slow)).value, model)
  const poor = await project('poor')
  await admin(`/projects/${poor}/spend_limit`, { currency: 'USD', interval: 'month', threshold_amount: 1 })
  await prober.chat((await projectKey(poor)).value, model, { max_completion_tokens: 1_000 })
  const gone = await project('gone')
  await admin(`/projects/${gone}/archive`, {})
  await admin(`/projects/${gone}/api_keys`, { name: 'late' })
  const own = /^axle_admin_([0-9A-Za-z]{8})_/.exec(adminKey)?.[1] ?? ''
  await admin(`/admin_api_keys/${own}`, undefined, { method: 'DELETE' })
  keyFrom(await admin('/admin_api_keys', { name: 'second' }), 'admin key')
  for (const list of [
    '/projects',
    `${path}/api_keys`,
    '/admin_api_keys',
    '/prices',
    '/audit_logs',
    `${path}/rate_limits`,
  ])
    await admin(list)
  await delay(1_000) // until the brief key is over
  await prober.chat(brief.value, model)
}
