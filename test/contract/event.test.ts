/** Log entries as they are stored and published. */
import { describe, expect, it } from 'vitest'
import { ZodError } from 'zod'
import {
  decodeLiveMessage,
  decodeLogEntry,
  decodeStreamEntry,
  encodeLogEntry,
  type LogEntry,
} from '../../contract/event.ts'

const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 2, reasoningTokens: 1 }
const entries: LogEntry[] = [
  { kind: 'start', epoch: 1, fingerprint: 'f', promptTokens: 3 },
  { kind: 'token', choice: 0, index: 4, tokenIds: [5, 6], channel: 'reasoning', text: 'a b\n"\u2028한' },
  {
    kind: 'token',
    choice: 0,
    index: 6,
    tokenIds: [7],
    channel: 'content',
    text: '',
    logProbs: [
      [
        { token: '\\xed', bytes: [0xed], logProb: -9_999 },
        { token: '<|im_end|>', bytes: null, logProb: -0.125 },
      ],
    ],
  },
  { kind: 'end', status: 'completed', finishReasons: ['stop'], usage, error: null },
  {
    kind: 'end',
    status: 'failed',
    finishReasons: [],
    usage,
    error: { code: 'model_error', message: 'm', param: null },
  },
]

const chances = (count: number) => Array.from({ length: count }, () => ({ token: 'a', logProb: -1 }))

describe('a log entry', () => {
  it.each(entries)('comes back as it was: $kind', (entry) => {
    expect(decodeLogEntry(encodeLogEntry(entry))).toEqual(entry)
    expect(decodeStreamEntry(['12-0', ['entry', encodeLogEntry(entry)]])).toEqual({ sequence: 12, entry })
  })

  it('is read out of a live message whatever its text holds', () => {
    for (const entry of entries) {
      const message = `JOB 7 ${encodeLogEntry(entry)}`
      expect(decodeLiveMessage(message)).toEqual({ jobId: 'JOB', event: { sequence: 7, entry } })
    }
  })

  it.each([
    ['an unknown kind', { kind: 'other' }],
    ['a negative index', { ...entries[1], index: -1 }],
    ['a fraction of a token', { ...entries[1], tokenIds: [1.5] }],
    ['an unregistered error code', { ...entries[4], error: { code: 'nonsense', message: '', param: null } }],
    ['a log probability that is no number', { ...entries[1], logProbs: [[{ token: 'a', logProb: null }]] }],
    ['more of the likeliest than anyone asks for', { ...entries[1], logProbs: [chances(22)] }],
    ['log probabilities of nothing', { ...entries[1], logProbs: [[]] }],
    ['an unknown channel', { ...entries[1], channel: 'analysis' }],
  ])('is refused with %s', (_case, entry) => {
    expect(() => decodeLogEntry(JSON.stringify(entry))).toThrow(ZodError)
  })
})
