/**
 * What `prove serving` asks: the model's frozen chats of one question, with the reference's answers, and generated sums.
 *
 * Both languages, both modes. It knows no server.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { OpenAI } from 'openai'
import { z } from 'zod'

export interface Question {
  readonly content: string
  readonly think: boolean
  /** What transformers answers in float32, where it was frozen. */
  readonly expected: { readonly reasoning: string | null; readonly content: string } | null
}

const frozenChats = z.array(
  z.object({
    messages: z.array(z.object({ role: z.string(), content: z.string() })),
    tools: z.unknown(),
    enable_thinking: z.boolean(),
    completion: z.string(),
  }),
)

/** The model's frozen chats of one question without tools, then generated sums in both languages and modes. */
export async function loadQuestions(isFull: boolean): Promise<Question[]> {
  const path = join(import.meta.dirname, '../../models/axk1-tiny/chats.json')
  const chats = frozenChats.parse(JSON.parse(await readFile(path, 'utf8')))
  const frozen = chats.flatMap(({ messages, tools, enable_thinking: think, completion }): Question[] => {
    const [message] = messages
    if (messages.length !== 1 || message === undefined || tools !== null) return []
    return [{ content: message.content, think, expected: split(completion, think) }]
  })
  const more = isFull ? 12 : 2
  const generated = Array.from({ length: more }, (_, i) => [
    { content: `What is ${137 + 211 * i} + ${48 + 97 * i}?`, think: i % 2 === 0, expected: null },
    { content: `${23 + i} 곱하기 ${14 + i}은?`, think: i % 2 === 1, expected: null },
  ])
  return [...frozen, ...generated.flat()]
}

/** Greedy, so that equal questions have equal answers. */
export function requestOf(model: string, question: Question): OpenAI.ChatCompletionCreateParamsNonStreaming {
  return {
    model,
    messages: [{ role: 'user', content: question.content }],
    temperature: 0,
    reasoning_effort: question.think ? 'medium' : 'none',
  }
}

function split(completion: string, think: boolean): Question['expected'] {
  const text = completion.replace(/<\|im_end\|>$/, '')
  if (!think) return { reasoning: null, content: text }
  const [reasoning = '', ...rest] = text.split('</think>')
  return { reasoning: reasoning.replace(/^\n+|\n+$/g, ''), content: rest.join('</think>').replace(/^\n+/, '') }
}
