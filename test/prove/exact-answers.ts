/**
 * How many questions a checkpoint answers exactly: the tasks of axk1-tiny's recipe, greedy, in both modes, many at once.
 *
 * The questions are `fixtures/eval-questions.json`; the first 30 of a task are those of `models/axk1-tiny/eval.json`. Their
 * prompts come through the chat template, the answers from the serving engine. It judges nothing.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { loadModelText, type ModelText } from '../../gpu-worker/model/model-text.ts'

/** As the recipe's `evaluate` bounds them. */
const ANSWER_TOKENS_MAX = { think: 260, direct: 60 } as const
const SEQUENCES_MAX = 32

export interface EvalQuestion {
  readonly task: string
  readonly question: string
  readonly answer: string
}

export interface TaskRate {
  readonly direct: number
  readonly think: number
}

export interface ExactRates {
  readonly questionCount: number
  readonly tokenCount: number
  /** By task. */
  readonly tasks: ReadonlyMap<string, TaskRate>
  readonly direct: number
  readonly think: number
  readonly all: number
}

/** The first `countPerTask` of each task. */
export async function loadEvalQuestions(countPerTask: number): Promise<EvalQuestion[]> {
  const text = await readFile(join(import.meta.dirname, '../fixtures/eval-questions.json'), 'utf8')
  const tasks = z.record(z.string(), z.array(z.tuple([z.string(), z.string()]))).parse(JSON.parse(text))
  return Object.entries(tasks).flatMap(([task, asked]) =>
    asked.slice(0, countPerTask).map(([question, answer]) => ({ task, question, answer })),
  )
}

export async function exactAnswers(dir: string, questions: readonly EvalQuestion[]): Promise<ExactRates> {
  const text = await loadModelText(dir, 'eval')
  const { runner } = await loadRunner({ checkpoint: dir, sequencesMax: SEQUENCES_MAX })
  try {
    const engine = new Engine(runner)
    const answers = new Map<string, number[]>()
    for (const [index, { question }] of questions.entries()) {
      for (const think of [false, true]) {
        const id = `${index}/${think}`
        answers.set(id, [])
        const promptTokenIds = text.promptTokens({ messages: [{ role: 'user', content: question }], think })
        const submission = engine.submit({
          id,
          promptTokenIds,
          sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] },
          stopTokenIds: text.stopTokenIds,
          answerTokensMax: think ? ANSWER_TOKENS_MAX.think : ANSWER_TOKENS_MAX.direct,
        })
        assert.equal(submission.kind, 'accepted')
      }
    }
    while (engine.hasWork) {
      for (const event of await engine.step()) if (event.kind === 'token') answers.get(event.id)?.push(event.tokenId)
    }
    return ratesOf(text, questions, answers)
  } finally {
    await runner.close()
  }
}

function ratesOf(
  text: ModelText,
  questions: readonly EvalQuestion[],
  answers: ReadonlyMap<string, readonly number[]>,
): ExactRates {
  const isExact = (index: number, think: boolean): boolean =>
    contentOf(text, answers.get(`${index}/${think}`) ?? [], think) === questions[index]?.answer
  const rate = (indexes: readonly number[], think: boolean): number =>
    indexes.filter((index) => isExact(index, think)).length / indexes.length
  const every = [...questions.keys()]
  const byTask = Map.groupBy(every, (index) => questions[index]?.task ?? '')
  const [direct, think] = [rate(every, false), rate(every, true)]
  return {
    questionCount: questions.length * 2,
    tokenCount: [...answers.values()].reduce((sum, tokens) => sum + tokens.length, 0),
    tasks: new Map([...byTask].map(([task, some]) => [task, { direct: rate(some, false), think: rate(some, true) }])),
    direct,
    think,
    all: (direct + think) / 2,
  }
}

function contentOf(text: ModelText, tokens: readonly number[], think: boolean): string {
  const answer = text.answer({ think, stop: [] })
  const deltas = [...tokens.map((token) => answer.push(token)), answer.end()]
  return deltas
    .filter(({ channel }) => channel === 'content')
    .map((delta) => delta.text)
    .join('')
    .trim()
}
