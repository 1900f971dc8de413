/** Think or Non-Think: every spelling alone, every disagreement, and what `auto` makes of a conversation. */
import { describe, expect, it } from 'vitest'
import type { AppError } from '../../contract/errors.ts'
import {
  chooseMode,
  countCues,
  decideMode,
  effortNames,
  type ModeChoice,
  type ModeParameters,
} from '../../edge/mode.ts'

const nothing: ModeParameters = {
  reasoningEffort: null,
  reasoningObjectEffort: null,
  thinkingType: null,
  enableThinking: null,
  thinkingKwarg: null,
}
const choose = (given: Partial<ModeParameters>) => chooseMode({ ...nothing, ...given }, [])
const chosen = (think: boolean, effort: string | null = null): ModeChoice =>
  ({ kind: 'chosen', thinking: { think, effort, budget: null } }) as ModeChoice

const ask = (content: string) => countCues([{ role: 'user', content }])

describe('chooseMode()', () => {
  it('takes Non-Think when nothing is asked', () => {
    expect(choose({})).toEqual(chosen(false))
  })

  const spellings: [Partial<ModeParameters>, ModeChoice][] = [
    [{ thinkingType: 'enabled' }, chosen(true)],
    [{ thinkingType: 'disabled' }, chosen(false)],
    [{ thinkingType: 'auto' }, { kind: 'auto', cueCount: 0 }],
    [{ enableThinking: true }, chosen(true)],
    [{ enableThinking: false }, chosen(false)],
    [{ thinkingKwarg: true }, chosen(true)],
    [{ thinkingKwarg: false }, chosen(false)],
    [{ reasoningEffort: 'none' }, chosen(false, 'none')],
    [{ reasoningEffort: 'minimal' }, chosen(true, 'minimal')],
    [{ reasoningEffort: 'low' }, chosen(true, 'low')],
    [{ reasoningEffort: 'medium' }, chosen(true, 'medium')],
    [{ reasoningEffort: 'high' }, chosen(true, 'high')],
    [{ reasoningEffort: 'xhigh' }, chosen(true, 'high')],
    [{ reasoningEffort: 'max' }, chosen(true, 'high')],
    [{ enableThinking: true, thinkingType: 'enabled', reasoningEffort: 'low' }, chosen(true, 'low')],
    [{ thinkingKwarg: false, thinkingType: 'disabled', reasoningObjectEffort: 'none' }, chosen(false, 'none')],
  ]
  it.each(spellings)('normalises %o', (given, expected) => {
    expect(choose(given)).toEqual(expected)
  })

  it.each(effortNames)('takes reasoning.effort %s as reasoning_effort', (effort) => {
    expect(choose({ reasoningObjectEffort: effort })).toEqual(choose({ reasoningEffort: effort }))
  })

  const disagreements: Partial<ModeParameters>[] = [
    { reasoningEffort: 'none', thinkingType: 'enabled' },
    { reasoningEffort: 'low', thinkingType: 'disabled' },
    { reasoningEffort: 'low', reasoningObjectEffort: 'high' },
    { enableThinking: true, thinkingKwarg: false },
    { thinkingType: 'auto', enableThinking: true },
    { thinkingType: 'auto', reasoningEffort: 'none' },
  ]
  it.each(disagreements)('refuses %o as contradictory', (given) => {
    expect(() => choose(given)).toThrow(expect.objectContaining({ code: 'contradictory_parameters' }) as AppError)
  })
})

describe('auto', () => {
  it.each([
    'Hello!',
    'What is the capital of France?',
    'Translate "good morning" into Korean.',
    '안녕하세요',
    '오늘 날씨 어때?',
    '서울은 어느 나라의 수도인가요?',
  ])('sees no task in %j', (text) => {
    expect(ask(text)).toBe(0)
  })

  it.each([
    'Prove that the square root of 2 is irrational.',
    'Solve the equation and explain step by step.',
    'Why does this deadlock? Debug it.',
    'What is 17 * 23?',
    '17과 23의 곱을 계산해 줘',
    '이 명제를 증명해 주세요',
    '두 방법의 장단점을 비교해줘',
    '이 알고리즘의 복잡도는?',
  ])('sees a task in %j', (text) => {
    expect(ask(text)).toBeGreaterThan(0)
  })

  it('looks at the last user message only', () => {
    expect(
      countCues([
        { role: 'user', content: 'Prove it.' },
        { role: 'assistant', content: 'Proof: …' },
        { role: 'user', content: 'Thanks!' },
      ]),
    ).toBe(0)
  })

  const decisions: [number, number, boolean][] = [
    [0, 0, false],
    [1, 0, true],
    [1, 0.99, true],
    [1, 1, false],
    [2, 1, true],
    [2, Number.POSITIVE_INFINITY, true],
    [1, Number.POSITIVE_INFINITY, false],
  ]
  it.each(decisions)('with %d cues at load %d decides %s', (cueCount, load, think) => {
    expect(decideMode({ kind: 'auto', cueCount }, load)).toEqual({ think, effort: null, budget: null })
  })

  it('never overrides what the client chose', () => {
    const thinking = { think: true, effort: 'low', budget: null } as const
    expect(decideMode({ kind: 'chosen', thinking }, 100)).toEqual(thinking)
  })
})
