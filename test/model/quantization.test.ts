/** quantization_config: which modules it means, and every way in which it cannot be taken. */
import { describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { parseQuantization } from '../../gpu-worker/model/quantization.ts'

type Fields = Record<string, unknown>

const int4 = { num_bits: 4, type: 'int', symmetric: true, strategy: 'group', group_size: 32, dynamic: false }
const int8 = { num_bits: 8, type: 'int', symmetric: true, strategy: 'channel', dynamic: false }
const group = (targets: string[], weights: Fields | null = int4): Fields => ({
  targets,
  weights,
  input_activations: null,
  output_activations: null,
})
const compressed: Fields = {
  quant_method: 'compressed-tensors',
  format: 'pack-quantized',
  quantization_status: 'compressed',
  ignore: ['lm_head'],
  config_groups: { group_0: group(['Linear']) },
}
const fp8: Fields = {
  quant_method: 'fp8',
  fmt: 'e4m3',
  activation_scheme: 'dynamic',
  weight_block_size: [128, 128],
}

function kindsOf(config: Fields, modules: readonly string[]): (string | null)[] {
  const quantization = parseQuantization({ quantization_config: config })
  return modules.map((module) => quantization?.schemeOf(module)?.kind ?? null)
}

const expert = 'model.layers.3.mlp.experts.17.up_proj'
const output = 'model.layers.3.self_attn.o_proj'

describe('parseQuantization()', () => {
  it('finds nothing where nothing is said', () => {
    expect(parseQuantization({})).toBeNull()
    expect(parseQuantization({ quantization_config: null })).toBeNull()
  })

  it('reads the older name, and refuses two that differ', () => {
    expect(parseQuantization({ compression_config: compressed })?.method).toBe('compressed-tensors')
    expect(parseQuantization({ quantization_config: fp8, compression_config: fp8 })?.method).toBe('fp8')
    expect(() => parseQuantization({ quantization_config: fp8, compression_config: compressed })).toThrow(
      'compression_config: expected the same',
    )
  })

  describe('compressed-tensors', () => {
    it('quantises every linear module but what is ignored', () => {
      const config = { ...compressed, ignore: ['lm_head', output, 're:.*shared_experts.*'] }
      const shared = 'model.layers.3.mlp.shared_experts.up_proj'
      expect(kindsOf(config, [expert, output, shared, 'lm_head'])).toEqual(['int4', null, null, null])
    })

    it('takes a module by its name before a pattern, and by a pattern before its class', () => {
      const groups = {
        all: group(['Linear'], int8),
        experts: group([String.raw`re:.*\.experts\.\d+\.`], int4),
        one: group([expert], null),
      }
      const other = 'model.layers.3.mlp.experts.18.up_proj'
      expect(kindsOf({ ...compressed, config_groups: groups }, [output, other, expert])).toEqual(['int8', 'int4', null])
    })

    it.each<[Fields, Fields]>([
      [int4, { kind: 'int4', scaleSpan: 32, hasZeroPoints: false }],
      [
        { ...int4, symmetric: false, group_size: 20 },
        { kind: 'int4', scaleSpan: 20, hasZeroPoints: true },
      ],
      [int8, { kind: 'int8', scaleSpan: 'row', hasZeroPoints: false }],
      [
        { ...int8, strategy: 'tensor' },
        { kind: 'int8', scaleSpan: 'tensor', hasZeroPoints: false },
      ],
      [
        { num_bits: 8, type: 'int', group_size: 64 },
        { kind: 'int8', scaleSpan: 64, hasZeroPoints: false },
      ],
      [
        { num_bits: 8, type: 'int', group_size: -1 },
        { kind: 'int8', scaleSpan: 'row', hasZeroPoints: false },
      ],
      [
        { num_bits: 4, type: 'int' },
        { kind: 'int4', scaleSpan: 'tensor', hasZeroPoints: false },
      ],
    ])('reads %j', (weights, scheme) => {
      const config = { ...compressed, config_groups: { group_0: group(['Linear'], weights) } }
      expect(parseQuantization({ quantization_config: config })?.schemeOf(expert)).toEqual(scheme)
    })

    it('takes fields that say how the scales were found', () => {
      const weights = { ...int4, actorder: 'weight', observer: 'mse', observer_kwargs: { norm: 2 }, scale_dtype: null }
      const config = { ...compressed, version: '0.15.0', global_compression_ratio: 1.5, transform_config: {} }
      expect(kindsOf({ ...config, config_groups: { group_0: group(['Linear'], weights) } }, [expert])).toEqual(['int4'])
    })

    it('takes groups that name their format themselves', () => {
      const config_groups = { group_0: { ...group(['Linear']), format: 'pack-quantized' } }
      expect(kindsOf({ ...compressed, format: 'mixed-precision', config_groups }, [expert])).toEqual(['int4'])
    })

    const withWeights = (weights: Fields): Fields => ({ config_groups: { group_0: group(['Linear'], weights) } })
    const withGroup = (fields: Fields): Fields => ({ config_groups: { group_0: { ...group(['Linear']), ...fields } } })
    it.each<[problem: string, change: Fields]>([
      ['format: not supported yet (only "pack-quantized")', { format: 'float-quantized' }],
      ['config_groups.group_0.format: not supported yet', { format: 'mixed-precision' }],
      ['config_groups.group_0.format: not supported yet', withGroup({ format: 'nvfp4-pack-quantized' })],
      ['quantization_status: not supported yet: "frozen"', { quantization_status: 'frozen' }],
      ['kv_cache_scheme: not supported yet', { kv_cache_scheme: { num_bits: 8, type: 'float' } }],
      ['sparsity_config: not supported yet', { sparsity_config: { format: 'sparse-bitmask' } }],
      ['transform_config: not supported yet', { transform_config: { config_groups: {} } }],
      ['unknown field "linear_class"', { linear_class: 'x' }],
      ['config_groups.W4A16', { config_groups: { W4A16: ['Linear'] } }],
      [String.raw`config_groups."\u001b[2J".targets`, { config_groups: { '\u001b[2J': { targets: 1 } } }],
      ['group_0.input_activations: not supported yet', withGroup({ input_activations: { num_bits: 8 } })],
      ['group_0.output_activations: not supported yet', withGroup({ output_activations: { num_bits: 8 } })],
      ['group_0.weights.num_bits: not supported yet (only 4 and 8)', withWeights({ ...int4, num_bits: 3 })],
      ['group_0.weights.type: not supported yet (only "int")', withWeights({ ...int4, type: 'float' })],
      ['group_0.weights.strategy: not supported yet', withWeights({ ...int4, strategy: 'block' })],
      ['group_0.weights.group_size: expected a size', withWeights({ ...int4, group_size: null })],
      ['group_0.weights.group_size: expected none', withWeights({ ...int8, group_size: 32 })],
      ['group_0.weights.actorder: not supported yet', withWeights({ ...int4, actorder: 'group' })],
      ['group_0.weights.actorder: not supported yet', withWeights({ ...int4, actorder: true })],
      ['group_0.weights.dynamic: not supported yet', withWeights({ ...int4, dynamic: true })],
      ['group_0.weights.symmetric: not supported yet', withWeights({ ...int8, strategy: 'tensor', symmetric: false })],
      ['unknown field "bits"', withWeights({ ...int4, bits: 4 })],
      ['ignore: "(a": unbalanced', { ignore: ['re:(a'] }],
    ])('refuses by name: %s', (problem, change) => {
      const parse = (): unknown => parseQuantization({ quantization_config: { ...compressed, ...change } })
      expect(parse).toThrow(CheckpointError)
      expect(parse).toThrow(problem)
    })
  })

  describe('fp8', () => {
    it('quantises every linear module but the head, and says that activations are left alone', () => {
      const quantization = parseQuantization({ quantization_config: fp8 })
      expect(quantization?.schemeOf(expert)).toEqual({ kind: 'fp8', blockRows: 128, blockColumns: 128 })
      expect(quantization?.schemeOf('lm_head')).toBeNull()
      expect(quantization?.warnings.join()).toContain('activation_scheme')
    })

    it.each(['modules_to_not_convert', 'ignored_layers'])('leaves alone what %s names, begins or ends', (field) => {
      const config = { ...fp8, [field]: ['model.layers.0', 'o_proj', String.raw`.*\.q_[ab]_proj$`] }
      const modules = ['model.layers.0.mlp.up_proj', output, 'model.layers.3.self_attn.q_a_proj', expert]
      expect(kindsOf(config, modules)).toEqual([null, null, null, 'fp8'])
    })

    it.each<[problem: string, change: Fields]>([
      ['quant_method: not supported yet: "gptq"', { quant_method: 'gptq' }],
      ['quant_method: not supported yet: undefined', { quant_method: undefined }],
      ['fmt: not supported yet: "e5m2"', { fmt: 'e5m2' }],
      ['weight_block_size: not supported yet', { weight_block_size: null }],
      ['weight_block_size', { weight_block_size: [0, 128] }],
      ['weight_block_size', { weight_block_size: [128] }],
      ['activation_scheme', { activation_scheme: 'sometimes' }],
      ['scale_fmt', { scale_fmt: 'e5m0' }],
      ['modules_to_convert: not supported yet', { modules_to_convert: ['embed_tokens'] }],
      ['unknown field "block_structure"', { block_structure: [1, 2] }],
    ])('refuses by name: %s', (problem, change) => {
      const parse = (): unknown => parseQuantization({ quantization_config: { ...fp8, ...change } })
      expect(parse).toThrow(CheckpointError)
      expect(parse).toThrow(problem)
    })
  })

  it('ends a hostile list of patterns by name', () => {
    const ignore = Array.from({ length: 100 }, (_, i) => `re:(?:${'.*'.repeat(100)}){8}x${i}`)
    const quantization = parseQuantization({ quantization_config: { ...compressed, ignore } })
    const ask = (): unknown => Array.from({ length: 1000 }, (_, i) => quantization?.schemeOf(`${expert}${i}`))
    expect(ask).toThrow('quantization_config: ignore: the patterns take too many steps')
  })
})
