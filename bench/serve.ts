/**
 * `bench serve`: tokens per second of 1, 8 and 32 streams and time to first token, of the engine alone and of the API.
 *
 * axk1-tiny, greedy. Every answer is compared with the one its question gets alone: a wrong token fails the bench.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { Engine } from '../gpu-worker/engine/engine.ts'
import { loadRunner } from '../gpu-worker/model/load-runner.ts'
import { loadModelText, type ModelText } from '../gpu-worker/model/model-text.ts'
import { startStack, type Stack } from '../test/fixtures/stack.ts'
import { type Figure, machineName, percentile, type Report } from './report.ts'

const streamCounts = [1, 8, 32] as const
const streamsMax = 32
/** Long enough that prefill is a small part, short enough for every stream of the tiny context. */
const answerTokens = 128
const questionCount = 8
/** Rounds a stream asks through the API, so that arrivals and ends mix. */
const roundsPerStream = 3
const modelDir = join(import.meta.dirname, '../models/axk1-tiny')

interface Measured {
  readonly tokensPerSecond: number
  readonly firstTokenMs: readonly number[]
}

export async function serve(): Promise<Report> {
  const text = await loadModelText(modelDir, 'axk1-tiny')
  const { runner, adapter } = await loadRunner({ checkpoint: modelDir, sequencesMax: streamsMax })
  const figures: Figure[] = []
  try {
    const engine = new Engine(runner)
    const expected = await answersAlone(engine, text)
    // Once through at the largest batch: drivers compile and caches fill outside the measurement.
    await runEngine(engine, text, streamsMax, expected)
    for (const streams of streamCounts) {
      const measured = await runEngine(engine, text, streams, expected)
      figures.push(...figuresOf('engine', streams, measured))
    }
  } finally {
    await runner.close()
  }
  const stack = await startStack({ AXLE_SLOTS: `${streamsMax}` })
  try {
    const expected = await apiAnswersAlone(stack)
    await runApi(stack, streamsMax, expected)
    for (const streams of streamCounts) {
      figures.push(...figuresOf('API', streams, await runApi(stack, streams, expected)))
    }
  } finally {
    await stack.stop()
  }
  const day = new Date().toISOString().slice(0, 10)
  return { bench: 'serve', machine: machineName(), adapter: adapter.description, date: day, figures }
}

function figuresOf(through: string, streams: number, { tokensPerSecond, firstTokenMs }: Measured): Figure[] {
  const name = `${through}, ${streams} ${streams === 1 ? 'stream' : 'streams'}`
  return [
    { name: `${name}: tokens, prompts included`, value: tokensPerSecond, unit: 'tokens/s' },
    { name: `${name}: first token, median`, value: percentile(firstTokenMs, 0.5), unit: 'ms' },
    { name: `${name}: first token, p99`, value: percentile(firstTokenMs, 0.99), unit: 'ms' },
  ]
}

function question(index: number): string {
  return `What is ${4821 + 37 * index} + ${397 + 211 * index}?`
}

async function answersAlone(engine: Engine, text: ModelText): Promise<number[][]> {
  const answers: number[][] = []
  for (let i = 0; i < questionCount; i++) {
    submit(engine, text, `${i}`, i)
    const answer: number[] = []
    while (engine.hasWork) {
      for (const event of await engine.step()) if (event.kind === 'token') answer.push(event.tokenId)
    }
    answers.push(answer)
  }
  return answers
}

/** All streams start together; the time runs from there to the last token. */
async function runEngine(engine: Engine, text: ModelText, streams: number, expected: number[][]): Promise<Measured> {
  const answers = Array.from({ length: streams }, (): number[] => [])
  const firstTokenMs: number[] = []
  for (let i = 0; i < streams; i++) submit(engine, text, `${i}`, i % questionCount)
  const startedMs = performance.now()
  while (engine.hasWork) {
    for (const event of await engine.step()) {
      if (event.kind !== 'token') continue
      if (event.index === 0) firstTokenMs.push(performance.now() - startedMs)
      answers[Number(event.id)]?.push(event.tokenId)
    }
  }
  const seconds = (performance.now() - startedMs) / 1000
  for (const [i, answer] of answers.entries()) assert.deepEqual(answer, expected[i % questionCount], 'I14')
  return { tokensPerSecond: answers.flat().length / seconds, firstTokenMs }
}

/** No stop token: every stream decodes the same number of tokens. */
function submit(engine: Engine, text: ModelText, id: string, index: number): void {
  const submission = engine.submit({
    id,
    promptTokenIds: text.promptTokens({ messages: [{ role: 'user', content: question(index) }], think: true }),
    sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] },
    stopTokenIds: [],
    answerTokensMax: answerTokens,
  })
  assert.equal(submission.kind, 'accepted')
}

interface ApiAnswer {
  readonly text: string
  readonly completionTokens: number
  readonly firstTokenMs: number
}

async function apiAnswersAlone(stack: Stack): Promise<string[]> {
  const answers: string[] = []
  for (let i = 0; i < questionCount; i++) answers.push((await askApi(stack, i)).text)
  return answers
}

async function runApi(stack: Stack, streams: number, expected: readonly string[]): Promise<Measured> {
  const startedMs = performance.now()
  const perStream = await Promise.all(
    Array.from({ length: streams }, async (_, stream) => {
      const answers: ApiAnswer[] = []
      for (let round = 0; round < roundsPerStream; round++) {
        const index = (stream + round) % questionCount
        const answer = await askApi(stack, index)
        assert.equal(answer.text, expected[index], 'I14: equal in any batch')
        answers.push(answer)
      }
      return answers
    }),
  )
  const seconds = (performance.now() - startedMs) / 1000
  const answers = perStream.flat()
  const tokens = answers.reduce((sum, answer) => sum + answer.completionTokens, 0)
  return { tokensPerSecond: tokens / seconds, firstTokenMs: answers.map((answer) => answer.firstTokenMs) }
}

async function askApi(stack: Stack, index: number): Promise<ApiAnswer> {
  const startedMs = performance.now()
  const response = await fetch(`${stack.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: stack.model,
      messages: [{ role: 'user', content: question(index) }],
      temperature: 0,
      reasoning_effort: 'medium',
      stream: true,
      stream_options: { include_usage: true },
    }),
  })
  assert(response.ok && response.body !== null, `HTTP ${response.status}`)
  let frames = ''
  let firstTokenMs = Number.NaN
  const decoder = new TextDecoder()
  for await (const bytes of response.body) {
    frames += decoder.decode(bytes, { stream: true })
    if (Number.isNaN(firstTokenMs) && frames.includes('"reasoning_content":"'))
      firstTokenMs = performance.now() - startedMs
  }
  assert(frames.endsWith('data: [DONE]\n\n'), 'The stream ends whole')
  const usage = /"completion_tokens":(\d+)/.exec(frames)
  assert(usage !== null, 'The stream tells its usage')
  const texts = [...frames.matchAll(/"(?:reasoning_content|content)":"((?:[^"\\]|\\.)*)"/g)]
  return { text: texts.map(([, piece]) => piece).join(''), completionTokens: Number(usage[1]), firstTokenMs }
}
