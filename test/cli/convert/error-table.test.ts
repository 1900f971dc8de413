/** The account of errors: sums before roots, by kind and by layer. */
import { describe, expect, it } from 'vitest'
import { errorTables, summarize } from '../../../cli/convert/error-table.ts'

const modules = [
  { module: 'model.layers.0.mlp.up_proj', errorSquares: 1, valueSquares: 100 },
  { module: 'model.layers.1.mlp.experts.0.up_proj', errorSquares: 9, valueSquares: 900 },
  { module: 'model.layers.1.mlp.experts.1.up_proj', errorSquares: 16, valueSquares: 100 },
  { module: 'model.layers.1.mlp.experts.1.down_proj', errorSquares: 0, valueSquares: 0 },
  { module: 'model.layers.1.mlp.shared_experts.up_proj', errorSquares: 4, valueSquares: 400 },
  { module: 'model.layers.10.self_attn.o_proj', errorSquares: 4, valueSquares: 100 },
]

describe('summarize', () => {
  it('takes the root of summed squares of each kind, and names the worst module', () => {
    expect(summarize(modules).kinds).toEqual([
      {
        kind: 'mlp.up_proj',
        moduleCount: 1,
        relativeError: 0.1,
        worst: { module: modules[0]?.module, relativeError: 0.1 },
      },
      {
        kind: 'mlp.experts.up_proj',
        moduleCount: 2,
        relativeError: Math.sqrt(25 / 1000),
        worst: { module: modules[2]?.module, relativeError: 0.4 },
      },
      {
        kind: 'mlp.experts.down_proj',
        moduleCount: 1,
        relativeError: 0,
        worst: { module: modules[3]?.module, relativeError: 0 },
      },
      {
        kind: 'mlp.shared_experts.up_proj',
        moduleCount: 1,
        relativeError: 0.1,
        worst: { module: modules[4]?.module, relativeError: 0.1 },
      },
      {
        kind: 'self_attn.o_proj',
        moduleCount: 1,
        relativeError: 0.2,
        worst: { module: modules[5]?.module, relativeError: 0.2 },
      },
    ])
  })

  it('keeps layers in order, and what a layer lacks apart from what has no error', () => {
    const nothing = { attention: null, 'dense MLP': null, 'shared experts': null, experts: null }
    expect(summarize(modules).layers).toEqual([
      { layer: 0, parts: { ...nothing, 'dense MLP': 0.1 } },
      { layer: 1, parts: { ...nothing, 'shared experts': 0.1, experts: Math.sqrt(25 / 1000) } },
      { layer: 10, parts: { ...nothing, attention: 0.2 } },
    ])
  })

  it('prints columns only of what was quantised', () => {
    const experts = modules.filter(({ module }) => module.includes('.experts.'))
    expect(errorTables(summarize(experts))).toMatch(/^layer {2}experts\n {4}1 {2}15\.811 %$/m)
  })
})
