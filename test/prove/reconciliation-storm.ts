/**
 * The storm before a reconciliation: tenants with prices and budgets, all requests, a bounded number at once, while GPU
 * workers are killed and the drain runs. It judges nothing.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { newKey, parseKey } from '../../contract/key-format.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { dice, type Dice } from '../fixtures/dice.ts'
import { testPepper, type TestEdge } from '../fixtures/edge.ts'
import type { FaultStage, WorkerProcess } from '../fixtures/fault-stage.ts'
import { Client, type ClientKind, clientKinds, type Tenant, type Told } from './reconciliation-clients.ts'

const model = 'axk1-tiny'
export const stormSizes = {
  full: { requests: 10_000, atOnce: 48, killEveryMs: [800, 2_500] },
  reduced: { requests: 300, atOnce: 24, killEveryMs: [600, 1_500] },
} as const
const workerCount = 2
const stepMs = 2
const drainEveryMs = 1_000
const startAttemptsMax = 5
/** Prices that leave fractions of a nano-dollar: µUSD a million tokens. */
const prices = [37_501, 9_377, 150_003] as const
/** Of each client kind, in hundredths. */
const shares: Readonly<Record<ClientKind, number>> = {
  stream: 30,
  whole: 25,
  'leaves-stream': 10,
  'leaves-whole': 8,
  'twice-at-once': 10,
  'again-after': 8,
  'answer-lost': 7,
  'too-long': 2,
}

/** Three tenants, the first with two keys, all with a budget that they do not reach: so their spend is counted. */
export async function openTenants({ database }: TestEdge): Promise<Tenant[]> {
  const tenants = [2, 1, 1].map((keyCount, index) => ({
    id: `proj_${index}`,
    keys: Array.from({ length: keyCount }, () => newKey('live', randomBytes)),
  }))
  await database.batch([
    database.prepare(
      `INSERT INTO prices (model, effective_from_ms, input_micro, cached_input_micro, output_micro)
       VALUES ('${model}', 0, ${prices.join(', ')})`,
    ),
    ...tenants.map(({ id }) =>
      database.prepare(
        `INSERT INTO tenants (id, name, created_at_ms, requests_per_minute, tokens_per_minute, concurrent_requests_max,
           monthly_budget_nano, tiers)
         VALUES ('${id}', '${id}', 0, 1000000, 1000000000, 1000, 1000000000000, '["priority","default","flex"]')`,
      ),
    ),
    ...tenants.flatMap(({ id, keys: all }) =>
      all.map((key) =>
        database
          .prepare(
            `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms)
             VALUES (?, ?, 'live', 'test', ?, 'p1', '["inference"]', 0)`,
          )
          .bind(parseKey(key)?.id, id, keyDigest(key, testPepper)),
      ),
    ),
  ])
  return tenants
}

/** All requests, a bounded number at once, while workers die and the drain runs. */
export async function storm(
  stage: FaultStage,
  edge: TestEdge,
  tenants: readonly Tenant[],
  { requests, atOnce, killEveryMs }: (typeof stormSizes)[keyof typeof stormSizes],
  seed: number,
): Promise<Told[][]> {
  const workers: WorkerProcess[] = []
  for (let count = 0; count < workerCount; count++) workers.push(await startAgain(stage))
  const over = new AbortController()
  let killCount = 0
  const kill = async (): Promise<void> => {
    const draw = dice(seed)
    for (;;) {
      await pause(draw(killEveryMs[0], killEveryMs[1]), over.signal)
      if (over.signal.aborted) return
      for (const worker of workers.splice(draw(0, workers.length - 1), 1)) worker.kill('SIGKILL')
      killCount += 1
      workers.push(await startAgain(stage))
    }
  }
  const drain = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await edge.scheduled()
      await pause(drainEveryMs, over.signal)
    }
  }
  const told: Told[][] = []
  let next = 0
  const send = async (): Promise<void> => {
    while (next < requests && !over.signal.aborted) {
      const number = next++
      told.push(await ask(edge, tenants, number, dice(seed * 1_000_003 + number)))
      if (told.length % 1_000 === 0) console.log(`  ${told.length} requests, ${killCount} workers killed`)
    }
  }
  const startedMs = performance.now()
  const sending = Promise.all(Array.from({ length: atOnce }, send)).finally(() => over.abort())
  const all = [sending, kill(), drain()]
  try {
    await Promise.all(all)
  } finally {
    over.abort()
    await Promise.allSettled(all)
  }
  assert(killCount > 0, 'A worker was killed')
  const seconds = (performance.now() - startedMs) / 1_000
  console.log(`  ${requests} requests in ${seconds.toFixed(1)} s, ${killCount} workers killed in between`)
  // Nobody drains any more: of this one the row waits.
  told.push(await new Client(edge.url, model, tenants, requests, dice(seed)).ask('whole', requests))
  return told
}

/** As a supervisor does: on a busy machine a start may be given up for its time limits. */
async function startAgain(stage: FaultStage): Promise<WorkerProcess> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await stage.startWorker({ stepMs })
    } catch (error) {
      if (attempt === startAttemptsMax) throw error
    }
  }
}

function ask(edge: TestEdge, tenants: readonly Tenant[], number: number, draw: Dice): Promise<Told[]> {
  return new Client(edge.url, model, tenants, number, draw).ask(kindOf(draw), number)
}

function kindOf(draw: Dice): ClientKind {
  let hundredth = draw(1, 100)
  for (const kind of clientKinds) {
    hundredth -= shares[kind]
    if (hundredth <= 0) return kind
  }
  throw new RangeError('The shares add up to a hundred')
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error
  })
}
