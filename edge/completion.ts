/**
 * A whole log → the chat.completion object: what the frames of the same log add up to.
 *
 * Pure. It knows no socket and no clock.
 */
import { AppError } from '../contract/errors.ts'
import type { LogEvent, TokenChannel } from '../contract/event.ts'
import { endError, JobFailure } from './job-end.ts'
import { logProbContent, logProbsObject } from './log-probs.ts'
import { usageObject, type ChatFacts } from './sse.ts'

/** @throws AppError with the code the job ended with, when that was no answer. */
export function chatCompletion(facts: ChatFacts, log: readonly LogEvent[]) {
  const end = log.at(-1)?.entry
  if (end?.kind !== 'end') throw new AppError('worker_failed', 'The answer broke off before its end.')
  const error = endError(end)
  if (error !== null) throw new JobFailure(error)
  const reasoning = textOf(log, 'reasoning')
  return {
    id: facts.id,
    object: 'chat.completion' as const,
    created: facts.created,
    model: facts.model,
    service_tier: facts.tier,
    ...fingerprintOf(log),
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant' as const,
          content: textOf(log, 'content'),
          ...(reasoning === '' ? {} : { reasoning_content: reasoning, reasoning }),
          refusal: null,
        },
        logprobs: facts.includeLogProbs ? logProbsObject(toldOf(log)) : null,
        finish_reason: end.finishReasons[0] ?? 'stop',
      },
    ],
    usage: usageObject(end.usage),
  }
}

function textOf(log: readonly LogEvent[], channel: TokenChannel): string {
  let text = ''
  for (const { entry } of log) if (entry.kind === 'token' && entry.channel === channel) text += entry.text
  return text
}

function toldOf(log: readonly LogEvent[]) {
  return log.flatMap(({ entry }) => (entry.kind === 'token' ? logProbContent(entry) : []))
}

/** Of the last worker; clients know the field as one that may be missing, not as null. */
function fingerprintOf(log: readonly LogEvent[]): { system_fingerprint?: string } {
  for (const { entry } of log.toReversed()) if (entry.kind === 'start') return { system_fingerprint: entry.fingerprint }
  return {}
}
