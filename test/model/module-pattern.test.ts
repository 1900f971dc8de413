/** Patterns over module names: what Python's re.match would say, in bounded time, or a refusal. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileModulePattern } from '../../gpu-worker/model/module-pattern.ts'

const STEPS = 10_000_000

function matches(pattern: string, name: string, steps = STEPS): boolean {
  return compileModulePattern(pattern, { left: steps }).matches(name)
}

/** Small patterns of every construct; names of the same few characters, so that both answers happen. */
const { pattern } = fc.letrec<{ pattern: string; piece: string }>((tie) => ({
  pattern: fc.array(tie('piece'), { maxLength: 4 }).map((pieces) => pieces.join('')),
  piece: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(
      'a',
      'b',
      '.',
      String.raw`\.`,
      String.raw`\d`,
      String.raw`\w`,
      '[ab]',
      '[^a.]',
      '[0-3b-]',
      '^',
      '$',
    ),
    fc
      .tuple(
        fc.constantFrom('a', '.', '(?:ab|b)', '[a1]'),
        fc.constantFrom('*', '+', '?', '{2}', '{1,2}', '{0,}', '*?'),
      )
      .map((pair) => pair.join('')),
    tie('pattern').map((inner) => `(${inner})`),
    fc.tuple(tie('pattern'), tie('pattern')).map(([left, right]) => `(?:${left}|${right})`),
    tie('pattern').map((inner) => `(?=${inner})`),
    tie('pattern').map((inner) => `(?!${inner})`),
  ),
}))
const name = fc.string({ unit: fc.constantFrom('a', 'b', '1', '.', '_'), maxLength: 8 })

/** What compiling the longest of the patterns below takes. */
const COMPILED = 200_000

describe('compileModulePattern()', () => {
  it('says of small patterns and names what a backtracking engine says: 3,000 pairs', () => {
    fc.assert(
      fc.property(pattern, name, (source, text) => {
        expect(matches(source, text)).toBe(new RegExp(`^(?:${source})`).test(text))
      }),
      { numRuns: 3000 },
    )
  })

  it.each([
    [String.raw`.*mlp\.experts\.\d+\.(gate|up|down)_proj$`, 'model.layers.3.mlp.experts.17.up_proj', true],
    [String.raw`.*mlp\.experts\.\d+\.(gate|up|down)_proj$`, 'model.layers.3.mlp.experts.17.up_proj.x', false],
    [String.raw`.*mlp\.gate$`, 'model.layers.3.mlp.gate', true],
    [String.raw`.*mlp\.gate$`, 'model.layers.3.mlp.gate_proj', false],
    [String.raw`^(?!.*experts).*`, 'model.layers.3.mlp.experts.1.up_proj', false],
    [String.raw`(?P<layer>model\.layers\.[0-9]+)\.`, 'model.layers.3.mlp', true],
    [String.raw`\Amodel\.norm\Z`, 'model.norm', true],
    ['model.layers.1.mlp', 'model.layers.1.mlp.down_proj', true],
    ['model.layers.1.mlp', 'model.layers.11.mlp.down_proj', false],
    ['model.layers', 'the.model.layers', false],
    ['lm_head', 'lm_hea', false],
  ])('matches %s against the beginning of %s: %s', (source, text, expected) => {
    expect(matches(source, text)).toBe(expected)
  })

  it.each(['(a*)*b', '(a|a)*b', '(a|aa)+b', '(?:a?){64}b', '(.*)(.*)(.*)(.*)x', '(?=(a+)+$)(a+)+b'])(
    'takes few steps for %s, which explodes elsewhere',
    (source) => {
      expect(matches(source, 'a'.repeat(60), 200_000 + COMPILED)).toBe(false)
    },
  )

  it.each([
    ['(a', 'unbalanced "("'],
    ['a)', 'unbalanced ")"'],
    ['*a', 'nothing before "*"'],
    ['a**', 'a repetition of a repetition'],
    ['a++', 'a repetition of a repetition'],
    ['a{2,1}', 'from more to less'],
    ['a{x}', 'no repetition'],
    ['[z-a]', 'a range that is none'],
    ['[a', 'it ends too early'],
    ['a\\', 'it ends too early'],
    [String.raw`\bgate`, String.raw`"\b"`],
    [String.raw`(a)\1`, String.raw`"\1"`],
    ['(?i)gate', '"(?i"'],
    ['(?<=a)b', '"(?<"'],
    [`${'('.repeat(100)}a${')'.repeat(100)}`, 'groups too deep'],
    ['(?:(?:a{99}){99}){99}', 'too many repetitions'],
    ['a|'.repeat(600), 'longer than'],
  ])('refuses %s', (source, problem) => {
    const compile = (): unknown => compileModulePattern(source, { left: STEPS })
    expect(compile).toThrow(SyntaxError)
    expect(compile).toThrow(problem)
  })

  it('stops when the budget of steps is spent, over all names and patterns together', () => {
    const budget = { left: 5000 }
    const first = compileModulePattern('.*x', budget)
    const second = compileModulePattern('(a|b)*$', budget)
    expect(first.matches('abab')).toBe(false)
    expect(second.matches('abab')).toBe(true)
    expect(() => Array.from({ length: 1000 }, () => first.matches('abababab'))).toThrow(/too many steps/)
  })

  it('spends it on long machines, too, for they are kept', () => {
    const budget = { left: STEPS }
    const compileMany = (): unknown =>
      Array.from({ length: 100 }, (_, i) => compileModulePattern(`(?:a{50}){70}${i}`, budget))
    expect(compileMany).toThrow(/too many steps/)
  })
})
