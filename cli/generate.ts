/**
 * `axle generate`: one answer in the terminal, through the real text side, engine and Runner; no gateway, no queue.
 *
 * A request becomes a job's plan in the worker's own code, so what comes out is what the API gives for the same seed.
 */
import { randomBytes } from 'node:crypto'
import { newJobId } from '../contract/ids.ts'
import { type ChatMessage, type JobRecord, nothingSteered } from '../contract/job.ts'
import { bodyBytesMax } from '../contract/limits.ts'
import type { AnswerEnd } from '../gpu-worker/answer-stream.ts'
import { Engine, StepFailed } from '../gpu-worker/engine/engine.ts'
import { planJob, type JobPlan } from '../gpu-worker/job-plan.ts'
import { loadRunner, type LoadedRunner } from '../gpu-worker/model/load-runner.ts'
import { loadModelText } from '../gpu-worker/model/model-text.ts'
import { AnswerWriter } from './generate/answer-writer.ts'
import { HELP, parseRequest, type GenerateRequest } from './generate/request.ts'
import { warningsOf } from './load-warnings.ts'
import { reportFailure } from './report-failure.ts'

const INTERRUPTED = 130
const REPEATED_SIGNAL_MS = 1_000

/** Prints what went wrong on stderr and sets exit code 1. */
export async function generate(args: string[]): Promise<void> {
  try {
    const request = parseRequest(args)
    if (request === null) console.log(HELP)
    else await answer(request, await messagesOf(request))
  } catch (error) {
    reportFailure(withCause(error))
  }
}

/** A failed step says what failed; why stands in its cause. */
function withCause(error: unknown): unknown {
  return error instanceof StepFailed && error.cause instanceof Error
    ? new Error(`${error.message}: ${error.cause.message}`, { cause: error })
    : error
}

async function messagesOf({ prompt, system }: GenerateRequest): Promise<ChatMessage[]> {
  const content = prompt ?? (await standardInput())
  return [
    ...(system === null ? [] : [{ role: 'system' as const, content: system }]),
    { role: 'user' as const, content },
  ]
}

/** Without the newline that ends its last line. */
async function standardInput(): Promise<string> {
  if (process.stdin.isTTY) throw new TypeError(`PROMPT is missing\n\n${HELP}`)
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let text = ''
  try {
    for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true })
      if (text.length > bodyBytesMax) throw new RangeError(`standard input: expected at most ${bodyBytesMax} bytes`)
    }
    return (text + decoder.decode()).replace(/\r?\n$/, '')
  } catch (error) {
    if (error instanceof RangeError) throw error
    throw new TypeError('standard input: expected UTF-8 text', { cause: error })
  }
}

async function answer(request: GenerateRequest, messages: ChatMessage[]): Promise<void> {
  const text = await loadModelText(request.modelDir, request.modelDir)
  // What is wrong with the prompt is said before minutes go into loading weights.
  text.promptTokens({ messages, think: request.think })
  const loaded = await load(request)
  try {
    const engine = new Engine(loaded.runner)
    const log = { tokenEntries: [], tokenIds: [], promptTokens: 0 }
    const plan = planJob(recordOf(request, messages), log, text, engine.tokensMax)
    const ending = await stream(engine, plan)
    const { promptTokenIds } = plan
    console.error(`${promptTokenIds.length} prompt tokens; ${summaryOf(ending)}; seed ${request.seed}`)
    if (ending.end === 'interrupted') process.exitCode = INTERRUPTED
  } finally {
    await loaded.runner.close()
  }
}

async function load(request: GenerateRequest): Promise<LoadedRunner> {
  const { modelDir, profile, toggles, gpuBytesMax, kvBytesMax, expertSlots } = request
  const budgets = {
    ...(gpuBytesMax === null ? {} : { gpuBytesMax }),
    ...(kvBytesMax === null ? {} : { kvBytesMax }),
    ...(expertSlots === null ? {} : { expertSlots }),
  }
  const loaded = await loadRunner({ checkpoint: modelDir, sequencesMax: 1, profile, toggles, ...budgets })
  const { adapter } = loaded
  const names = adapter.toggles.join(', ') || 'none'
  console.error(`adapter: ${adapter.description} (${adapter.vendor}, ${adapter.backend}), toggles: ${names}`)
  for (const warning of warningsOf(loaded)) console.error(warning)
  return loaded
}

/** The job that an API request would have become. */
function recordOf(request: GenerateRequest, messages: ChatMessage[]): JobRecord {
  const { modelDir, think, maxTokens, temperature, topP, topK, minP, seed } = request
  const thinking = { think, effort: null, budget: null }
  return {
    id: newJobId(0, randomBytes(16)),
    status: 'running',
    tenantId: '',
    model: modelDir,
    lane: 0,
    tier: 'default',
    claimedAtMs: 0,
    priority: 1,
    seed,
    epoch: 1,
    entryCount: 0,
    admittedAtMs: 0,
    isCancelled: false,
    request: { messages, thinking, maxTokens, temperature, topP, topK, minP, stop: [], ...nothingSteered },
  }
}

interface Ending {
  readonly end: AnswerEnd | 'interrupted'
  readonly tokenCount: number
  readonly firstTokenMs: number
  readonly lastTokenMs: number
}

/** Until the answer ends, the user interrupts it, or nobody reads on. */
async function stream(engine: Engine, plan: JobPlan): Promise<Ending> {
  const { stdout } = process
  const writer = new AnswerWriter((text) => stdout.write(text), stdout.isTTY)
  const id = 'answer'
  const stop = (): void => engine.cancel(id)
  onInterrupt(stop)
  // `| head` closes the pipe: what follows would be written to nobody.
  stdout.on('error', stop)
  const { promptTokenIds, sampling, stopTokenIds, answerTokensMax } = plan
  const startedMs = performance.now()
  let [firstTokenMs, lastTokenMs] = [0, 0]
  engine.submit({ id, promptTokenIds, sampling, stopTokenIds, answerTokensMax })
  while (engine.hasWork) {
    for (const event of await engine.step()) {
      if (event.kind === 'token') {
        const { channel, text } = plan.answer.push(event.tokenId)
        writer.push(channel, text)
        lastTokenMs = performance.now() - startedMs
        if (event.index === 0) firstTokenMs = lastTokenMs
      } else if (event.kind === 'end' && event.reason === 'not-finite') {
        writer.end()
        throw new Error('The model produced values that are not numbers')
      }
    }
  }
  writer.end()
  return { end: plan.answer.end ?? 'interrupted', tokenCount: plan.answer.tokenCount, firstTokenMs, lastTokenMs }
}

/** One Ctrl-C may arrive twice, from the terminal and from npm's side; a later one is meant, and ends the process. */
function onInterrupt(stop: () => void): void {
  let firstMs: number | null = null
  process.on('SIGINT', () => {
    const nowMs = performance.now()
    firstMs ??= nowMs
    if (nowMs - firstMs > REPEATED_SIGNAL_MS) process.exit(INTERRUPTED)
    stop()
  })
}

function summaryOf({ end, tokenCount, firstTokenMs, lastTokenMs }: Ending): string {
  const rate =
    tokenCount < 2 ? '' : `, then ${((tokenCount - 1) / ((lastTokenMs - firstTokenMs) / 1_000)).toFixed(1)} tokens/s`
  return `${tokenCount} tokens in ${seconds(lastTokenMs)} (first after ${seconds(firstTokenMs)}${rate}); ended by ${end}`
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`
}
