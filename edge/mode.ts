/**
 * Think or Non-Think: every spelling of it, normalised once.
 *
 *     parameter                                   Non-Think     Think                              the server decides
 *     reasoning_effort, reasoning.effort          none          minimal low medium high xhigh max
 *     thinking.type                               disabled      enabled                            auto
 *     chat_template_kwargs.enable_thinking|thinking  false      true
 *     none of them                                the default
 *
 * Spellings that disagree are an error. Pure: knows neither the model nor who measured the load.
 */
import { AppError } from '../contract/errors.ts'
import type { ChatMessage, Thinking } from '../contract/job.ts'

export const effortNames = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const
export type EffortName = (typeof effortNames)[number]

/** What the request said, spelling by spelling; null = nothing. */
export interface ModeParameters {
  readonly reasoningEffort: EffortName | null
  readonly reasoningObjectEffort: EffortName | null
  readonly thinkingType: 'enabled' | 'disabled' | 'auto' | null
  readonly enableThinking: boolean | null
  readonly thinkingKwarg: boolean | null
}

/** Decided by the client, or left to us with what the conversation suggests. */
export type ModeChoice =
  | { readonly kind: 'chosen'; readonly thinking: Thinking }
  | { readonly kind: 'auto'; readonly cueCount: number }

/** @throws AppError contradictory_parameters. */
export function chooseMode(parameters: ModeParameters, messages: readonly ChatMessage[]): ModeChoice {
  const { reasoningEffort, reasoningObjectEffort, thinkingType, enableThinking, thinkingKwarg } = parameters
  const efforts = [reasoningEffort, reasoningObjectEffort].filter((effort) => effort !== null)
  const wishes: (boolean | 'auto')[] = [
    ...efforts.map((effort) => effort !== 'none'),
    ...(thinkingType === null ? [] : [thinkingType === 'auto' ? ('auto' as const) : thinkingType === 'enabled']),
    ...[enableThinking, thinkingKwarg].filter((wish) => wish !== null),
  ]
  if (new Set(wishes).size > 1 || new Set(efforts).size > 1) {
    throw new AppError(
      'contradictory_parameters',
      'reasoning_effort, reasoning.effort, thinking.type and chat_template_kwargs ask for different modes. Send one.',
    )
  }
  const [wish = false] = wishes
  if (wish === 'auto') return { kind: 'auto', cueCount: countCues(messages) }
  const [effort] = efforts
  return {
    kind: 'chosen',
    thinking: { think: wish, effort: effort === undefined ? null : contractEffort(effort), budget: null },
  }
}

/** Signs that an answer gains from thinking: what is asked for, formulas, code. Looked for in the last user message. */
const cues: readonly RegExp[] = [
  /\b(prov(e|ing)|proof|deriv(e|ation)|theorem|solve|calculat\w+|comput(e|ing)|equation|integral|probability)\b/i,
  /\b(step[- ]by[- ]step|think (carefully|hard)|reason(ing)?|analy[sz]e|compare|trade-?offs?|why|puzzle|logic(al)?)\b/i,
  /\b(algorithm|debug|refactor|complexity|optimi[sz]e|implement|bug|stack trace)\b/i,
  /증명|유도|정리|풀어|풀이|계산|방정식|적분|미분|확률/,
  /단계별|차근차근|추론|논리|분석|비교|장단점|이유|왜/,
  /알고리즘|디버그|디버깅|구현|최적화|복잡도|버그|코드/,
  /\d\s*[-+*/^=×÷]\s*\d/,
  /```/,
]
/** With every slot of the pool taken, one sign is not enough: thinking costs the others their turn. */
const cuesWhenIdle = 1
const cuesWhenBusy = 2
const busyLoad = 1

export function countCues(messages: readonly ChatMessage[]): number {
  const text = messages.findLast((message) => message.role === 'user')?.content ?? ''
  return cues.filter((cue) => cue.test(text)).length
}

/** @param load running and waiting requests per slot of the pool. */
export function decideMode(choice: ModeChoice, load: number): Thinking {
  if (choice.kind === 'chosen') return choice.thinking
  const needed = load >= busyLoad ? cuesWhenBusy : cuesWhenIdle
  return { think: choice.cueCount >= needed, effort: null, budget: null }
}

/** What answered, as headers and usage say it. */
export function modeName(isThinking: boolean): 'think' | 'non-think' {
  return isThinking ? 'think' : 'non-think'
}

/** The model knows no effort beyond high. */
function contractEffort(effort: EffortName): Thinking['effort'] {
  return effort === 'xhigh' || effort === 'max' ? 'high' : effort
}
