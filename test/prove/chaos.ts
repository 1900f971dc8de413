/**
 * The whole product under random harm: 32 streams at once on the real model while GPU workers, janitor and Redis are
 * killed or frozen and clients leave. Every answer must be the one it gets in peace, every job end once, and the cell be
 * whole again: nothing open, queued, counted, held or logged that should not be.
 *
 * Seeded: who is harmed, how and for how long; when exactly it strikes is the machine's. With `isResuming` false workers
 * forget what a lost one wrote: then it must fail, or it proves nothing.
 */
import assert from 'node:assert/strict'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { decodeLiveMessage, type LogEvent } from '../../contract/event.ts'
import { parseJobId } from '../../contract/ids.ts'
import { channels, keys } from '../../contract/keys.ts'
import { dice, type Dice } from '../fixtures/dice.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { type Stack, startStack } from '../fixtures/stack.ts'
import { checkLogs, type FaultKind, faultKinds, inflict, memoryOf, untilWhole } from './chaos-cell.ts'
import { ask, questions, type Told } from './chaos-clients.ts'

export interface ChaosOptions {
  readonly full: boolean
  readonly seed?: number
  /** False is the negative control. */
  readonly isResuming?: boolean
}

const preloadUrl = pathToFileURL(join(import.meta.dirname, '../fixtures/without-resuming.ts')).href
const streamCount = 32
const streamsOverMs = 1_500
const wholeDeadlineMs = 40_000
/** Above the lock and two stalled checks: a frozen worker loses its jobs. */
const frozenMs = [6_500, 9_000] as const
const redisAwayMs = [100, 2_000] as const
/** Against what peace took: above it memory was not given back. */
const memoryGrowthMax = 1.5

/** 25 blocks: the context of one sequence, and less than the answers of six need at once. */
const scarceKvBytes = 930_000

interface Round {
  readonly faults: readonly FaultKind[]
  /** One that lasts while the others strike. */
  readonly long?: { readonly kind: FaultKind; readonly lastsMs: number }
}

/** One start of the whole stack, and what it goes through. */
interface Life {
  readonly workerCount: number
  readonly rounds: readonly Round[]
  readonly environment?: Readonly<Record<string, string>>
}

const reducedLife: Life = {
  workerCount: 2,
  rounds: [{ faults: ['worker-killed', 'redis-killed', 'worker-frozen', 'janitor-killed'] }],
}
/** Longer than a lock: every lock runs out, and nobody is there to notice. */
const longRounds: readonly Round[] = [
  { faults: [], long: { kind: 'redis-frozen', lastsMs: 20_000 } },
  { faults: ['worker-killed'], long: { kind: 'janitor-frozen', lastsMs: 30_000 } },
]
const forgetfulLife: Life = {
  workerCount: 2,
  rounds: [{ faults: ['worker-killed', 'worker-killed'] }],
  environment: { NODE_OPTIONS: `--import ${preloadUrl}` },
}

export async function chaos({ full, seed = 1, isResuming = true }: ChaosOptions): Promise<void> {
  const draw = dice(seed)
  if (!isResuming) return live(draw, forgetfulLife)
  if (!full) return live(draw, reducedLife)
  const randomRounds = (count: number) => Array.from({ length: count }, () => randomRound(draw))
  await live(draw, { workerCount: 1, rounds: randomRounds(3) })
  await live(draw, { workerCount: 2, rounds: [...randomRounds(7), ...longRounds] })
  // Few slots and little memory: jobs wait in lanes and windows, and sequences preempt each other.
  const environment = { AXLE_SLOTS: '6', AXLE_KV_BYTES: `${scarceKvBytes}` }
  await live(draw, { workerCount: 2, rounds: randomRounds(3), environment })
  await assert.rejects(live(draw, forgetfulLife), 'Without resuming from the log it must fail')
  console.log('  negative control: without resuming from the log it fails, as it must')
}

/** At most three faults that lose jobs: a job may be lost with three workers, not with four. */
function randomRound(draw: Dice): Round {
  return { faults: Array.from({ length: 3 }, () => faultKinds[draw(0, faultKinds.length - 1)] ?? 'worker-killed') }
}

async function live(draw: Dice, { workerCount, rounds, environment = {} }: Life): Promise<void> {
  const stack = await startStack({ AXLE_GPU_WORKERS: `${workerCount}`, ...environment })
  try {
    const published = await listen(stack)
    const inPeace = await Promise.all(questions.map((question) => ask(stack, question, null)))
    await untilWhole(stack, workerCount, wholeDeadlineMs)
    const peaceful = new Map(inPeace.map((told) => [told.question.seed, told]))
    const inPeaceMib = await memoryOf(stack)
    console.log(`  ${workerCount} workers, ${inPeace.length} questions in peace`)
    for (const round of rounds) await storm(stack, draw, round, workerCount, peaceful)
    const grown = await memoryOf(stack)
    for (const [name, mib] of grown) {
      const before = inPeaceMib.get(name) ?? mib
      assert(mib <= before * memoryGrowthMax, `I11: ${name} grew from ${before} to ${mib} MiB`)
    }
    const { jobCount, tokenCount, ends } = await judge(stack, peaceful, published)
    const { lineCount } = await checkLogs(stack, [stack.apiKey, ...questions.map(({ content }) => content)])
    const list = [...grown].map(([name, mib]) => `${name} ${inPeaceMib.get(name) ?? '?'} → ${mib} MiB`)
    console.log(`  ${jobCount} jobs, ${tokenCount} tokens: I1–I6 hold for each; ends: ${JSON.stringify(ends)}`)
    console.log(`  ${lineCount} lines of logs without a secret or a surprise; ${list.join(', ')}`)
    assert.equal(await stack.stop(), 0, 'npm start exits 0 after SIGTERM')
  } catch (error) {
    console.error(stack.output())
    throw error
  } finally {
    await stack.stop()
  }
}

/** One round: streams begin, faults strike, and everything comes to rest. */
async function storm(
  stack: Stack,
  draw: Dice,
  round: Round,
  workerCount: number,
  peaceful: ReadonlyMap<number, Told>,
): Promise<void> {
  const startedMs = performance.now()
  const clients = Array.from({ length: streamCount }, async () => {
    const question = questions[draw(0, questions.length - 1)]
    assert(question !== undefined)
    const leaveAfterFrames = draw.chance(0.25) ? draw(1, 40) : null
    await delay(draw(0, streamsOverMs))
    return ask(stack, question, leaveAfterFrames)
  })
  const stories: string[] = []
  const uniform = () => draw(0, 999) / 1_000
  const harm = async () => {
    for (const kind of round.faults) {
      await delay(draw(300, 1_500))
      const [least, most] = kind.startsWith('redis') ? redisAwayMs : frozenMs
      stories.push(await inflict(stack, kind, uniform, draw(least, most)))
    }
  }
  const harmForLong = async () => {
    if (round.long === undefined) return
    await delay(streamsOverMs)
    stories.push(await inflict(stack, round.long.kind, uniform, round.long.lastsMs))
  }
  // A harm is always undone, also where a client was failed: nothing may be left killed or frozen.
  const [answers, harms] = await Promise.all([Promise.allSettled(clients), Promise.allSettled([harm(), harmForLong()])])
  for (const outcome of [...answers, ...harms]) if (outcome.status === 'rejected') throw outcome.reason
  const told = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  for (const { question, text, finishReason } of told) {
    const peace = peaceful.get(question.seed)
    assert(peace !== undefined)
    if (finishReason === null)
      assert(peace.text.startsWith(text), 'I3: what a client saw before it left is in the answer')
    else
      assert.deepEqual([text, finishReason], [peace.text, peace.finishReason], 'The answer is the one given in peace')
  }
  const answeredMs = performance.now() - startedMs
  await untilWhole(stack, workerCount, wholeDeadlineMs)
  const wholeMs = performance.now() - startedMs - answeredMs
  const left = told.filter(({ finishReason }) => finishReason === null).length
  const refusals = told.reduce((count, each) => count + each.refusals, 0)
  const longest = Math.max(...told.map(({ longestWaitMs }) => longestWaitMs))
  console.log(
    `  ${stories.join(', ')}: ${told.length - left} answers as in peace, ${left} clients left, ${refusals} refusals; ` +
      `done after ${(answeredMs / 1_000).toFixed(1)} s, whole ${(wholeMs / 1_000).toFixed(1)} s later, ` +
      `longest silence ${(longest / 1_000).toFixed(1)} s`,
  )
}

/** Every job there ever was, from its usage row: its history holds and its answer is the one given in peace. */
async function judge(
  stack: Stack,
  peaceful: ReadonlyMap<number, Told>,
  published: ReadonlyMap<string, LogEvent[]>,
): Promise<{ jobCount: number; tokenCount: number; ends: Record<string, number> }> {
  const rows = await stack.connection.xrange(keys.usage, '-', '+')
  const jobIds = rows.map(([, fields]) => parseJobId(fields[fields.indexOf('jobId') + 1] ?? ''))
  let tokenCount = 0
  const ends: Record<string, number> = {}
  for (const jobId of jobIds) {
    assert(jobId !== null, 'A usage row names a job')
    const history = await readHistory(stack.connection, jobId, published.get(jobId) ?? [])
    const { tokenIds, text, end } = checkHistory(history)
    const peace = peaceful.get(Number(history.record['seed']))
    assert(peace !== undefined, 'A job has the seed of a question')
    assert(['completed', 'incomplete', 'cancelled'].includes(end.status), `No job is ${end.status} by chaos`)
    if (end.status === 'cancelled') assert(peace.text.startsWith(text), 'A cancelled answer is the beginning of one')
    else assert.equal(text, peace.text, 'The log holds the answer given in peace')
    ends[end.status] = (ends[end.status] ?? 0) + 1
    tokenCount += tokenIds.length
  }
  return { jobCount: jobIds.length, tokenCount, ends }
}

/** What is published of every job from now on, by job. Messages are lost while Redis is away. */
async function listen({ redis }: Stack): Promise<ReadonlyMap<string, LogEvent[]>> {
  const published = new Map<string, LogEvent[]>()
  const listener = redis.connect()
  listener.on('message', (_channel: string, message: string) => {
    const { jobId, event } = decodeLiveMessage(message)
    published.set(jobId, [...(published.get(jobId) ?? []), event])
  })
  await listener.subscribe(channels.live(0))
  return published
}
