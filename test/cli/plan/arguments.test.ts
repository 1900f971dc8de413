/** Questions that `axle plan` refuses, each in a sentence that says what was expected. */
import { describe, expect, it } from 'vitest'
import { parsePlanArguments } from '../../../cli/plan/arguments.ts'

function parse(...args: string[]): ReturnType<typeof parsePlanArguments> {
  return parsePlanArguments(args, {})
}

const axk1 = ['--preset', 'axk1'] as const

describe('parsePlanArguments()', () => {
  it('takes a folder as stored, on this machine, one sequence of the longest context, unless told otherwise', () => {
    expect(parse('models/x')).toEqual({
      source: { kind: 'folder', dir: 'models/x' },
      devices: ['this'],
      count: 1,
      mix: null,
      contextTokens: null,
      sequences: 1,
      profile: 'kv16',
      expertSlots: null,
      memoryBytes: null,
      json: false,
    })
  })

  it('takes a mix as soon as one part of it is named', () => {
    expect(parse(...axk1, '--experts', 'int4')?.mix).toEqual({
      experts: 'int4',
      rest: 'bf16',
      group: 32,
      layout: 'fused',
    })
    expect(parse('models/x', '--rest', 'int8', '--group', '128')?.mix).toMatchObject({ experts: 'bf16', group: 128 })
  })

  it("takes the memory of this machine's GPU from --memory, else from AXLE_GPU_BYTES", () => {
    const environment = { AXLE_GPU_BYTES: '24GB' }
    expect(parsePlanArguments([...axk1], environment)?.memoryBytes).toBe(24e9)
    expect(parsePlanArguments([...axk1, '--memory', '1GiB'], environment)?.memoryBytes).toBe(2 ** 30)
  })

  it('takes slots for experts as a number and as a share', () => {
    expect(parse(...axk1, '--expert-slots', '96')?.expertSlots).toBe(96)
    expect(parse(...axk1, '--expert-slots', '50%')?.expertSlots).toBe('50%')
  })

  it('gives nothing where help is asked for', () => {
    expect(parse('--help', '--count', '0')).toBeNull()
  })

  it.each([
    { why: 'no model', args: [], says: /checkpoint folder or --preset/ },
    { why: 'two models', args: ['models/x', ...axk1], says: /got both: models\/x and axk1/ },
    { why: 'two folders', args: ['models/x', 'models/y'], says: /one checkpoint folder/ },
    { why: 'an unknown preset', args: ['--preset', 'axk9'], says: /--preset: expected one of axk1, got axk9/ },
    {
      why: 'an unknown device',
      args: [...axk1, '--device', 'h1000'],
      says: /--device: expected one of h100-80g, .*this/,
    },
    { why: 'a nameless device', args: [...axk1, '--device', 'h200,'], says: /got nothing/ },
    { why: 'a device twice', args: [...axk1, '--device', 'h200,h200'], says: /each device once/ },
    { why: 'no devices', args: [...axk1, '--count', '0'], says: /--count: expected a whole number, 1 … 1,024, got 0/ },
    { why: 'half a device', args: [...axk1, '--count', '1.5'], says: /--count/ },
    { why: 'no slots', args: [...axk1, '--expert-slots', '0'], says: /--expert-slots: expected a number of experts/ },
    { why: 'an absurd context', args: [...axk1, '--context', '9'.repeat(30)], says: /--context/ },
    { why: 'too many sequences', args: [...axk1, '--sequences', '4097'], says: /1 … 4,096/ },
    { why: 'a negative number', args: [...axk1, '--sequences=-1'], says: /--sequences/ },
    { why: 'a group for fp8', args: [...axk1, '--experts', 'fp8', '--group', '32'], says: /--group goes with/ },
    { why: 'a group for what is stored', args: ['models/x', '--group', '32'], says: /--group goes with/ },
    { why: 'an odd group', args: [...axk1, '--experts', 'int4', '--group', '7'], says: /--group: expected one of 32/ },
    { why: 'an unknown format', args: [...axk1, '--rest', 'int4'], says: /--rest: expected one of bf16, int8/ },
    { why: 'memory of a known card', args: [...axk1, '--device', 'h200', '--memory', '1GB'], says: /--memory is for/ },
    { why: 'memory in nothing', args: [...axk1, '--memory', 'lots'], says: /--memory: expected bytes/ },
    { why: 'an unknown profile', args: [...axk1, '--profile', 'fast'], says: /--profile: expected one of exact, kv16/ },
    { why: 'an unknown flag', args: [...axk1, '--gpus', '8'], says: /--gpus/ },
  ])('refuses $why', ({ args, says }) => {
    expect(() => parse(...args)).toThrow(says)
  })
})
