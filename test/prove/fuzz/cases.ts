/**
 * The fuzzer's cases: one file of a checkpoint folder, and what is done to it. As data, so that a case can be sent to the
 * process that runs it, shrunk by fast-check, and printed.
 *
 * Draws and describes; it reads and writes no file.
 */
import * as fc from 'fast-check'
import { longTexts, type TreeEdit } from './json-tree.ts'

export interface FuzzCase {
  /** A folder of the corpus. */
  readonly base: string
  readonly file: string
  readonly change: Change
}

export type Change =
  /** The JSON of the file, or of a safetensors header. */
  | { readonly kind: 'tree'; readonly edits: readonly TreeEdit[] }
  /** Of the text, or of the first bytes of a safetensors file. `at` is a share of its length. */
  | { readonly kind: 'cut'; readonly edits: readonly { at: number; removed: number; added: string }[] }
  | { readonly kind: 'header-length'; readonly length: string }
  | { readonly kind: 'size'; readonly share: number; readonly added: number }
  | { readonly kind: 'bytes'; readonly edits: readonly { at: number; byte: number }[] }
  | { readonly kind: 'place'; readonly place: 'missing' | 'empty' | 'folder' | 'link-out' | 'link-loop' | 'device' }

/** Base → files that are changed, weights first: they get half of the cases. */
export const corpus: Readonly<Record<string, readonly string[]>> = {
  'yarn-fused-bf16': ['model.safetensors', 'config.json'],
  'bias-sharded': ['model-00002-of-00003.safetensors', 'model.safetensors.index.json', 'config.json'],
  'int4-zero-points': ['model.safetensors', 'config.json'],
  'fp8-blocks': ['model.safetensors', 'config.json'],
  'axk1-tiny': [
    'tokenizer.json',
    'tokenizer_config.json',
    'chat_template.jinja',
    'generation_config.json',
    'config.json',
  ],
}

/** JSON text that has broken a reader before, or is the edge of something. */
const values = [
  'null',
  'true',
  'false',
  '""',
  '[]',
  '{}',
  '0',
  '-0',
  '-1',
  '1',
  '2',
  '3',
  '0.5',
  '-1.5',
  '7',
  '16',
  '64',
  '255',
  '256',
  '65536',
  '16777215',
  '16777216',
  '16777217',
  '2147483647',
  '2147483648',
  '4294967295',
  '4294967296',
  '9007199254740991',
  '9007199254740993',
  '18446744073709551616',
  '1e308',
  '1e999',
  '-1e999',
  '5e-324',
  'NaN',
  'Infinity',
  '1.',
  '01',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '"../x"',
  '"/etc/passwd"',
  '"model.safetensors"',
  '"\\u0000"',
  '"\\ud800"',
  '"model-00001-of-00003.safetensors"',
  '"F8_E4M3"',
  '"F64"',
  '"BF16"',
  '"I4"',
  '"yarn"',
  '"dynamic"',
  '"int"',
  '"float"',
  '"group"',
  '"channel"',
  '"tensor_group"',
  '"pack-quantized"',
  '"fp8"',
  '"re:("',
  '"re:(a+)+$"',
  '"re:.*"',
  '"Linear"',
  '"<|im_end|>"',
  '"{{ 1 }}"',
  '"(a+)+$"',
  '"(?<x>"',
  '"\\\\p{L}+"',
  '[0]',
  '[0,0]',
  '[null]',
  '[[]]',
  '[1,2,3,4,5,6,7,8,9]',
  '{"__proto__":{}}',
  '{"a":1,"a":2}',
  '{"type":"Sequence","pretokenizers":[]}',
  '{"type":"ByteLevel"}',
  '{"content":"x"}',
  '["a","b"]',
  '"a b"',
  '[-1,4]',
  '[4,0]',
  '[0,9007199254740991]',
  '[0,1e308]',
  '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',
]

const keys = [
  '__proto__',
  'constructor',
  'toString',
  '__metadata__',
  '',
  'a',
  'x'.repeat(300),
  '\u0000',
  '\ud800',
  'weight_map',
  'dtype',
  'shape',
  'data_offsets',
  'quantization_config',
  'compression_config',
  'rope_scaling',
  'rope_parameters',
  'rope_theta',
  'sliding_window',
  'n_group',
  'num_hidden_layers',
  'actorder',
  'kv_cache_scheme',
  'transform_config',
  'ignore',
  'targets',
  'modules_to_not_convert',
  'weight_block_size',
  'eos_token',
  'chat_template',
  'added_tokens',
  'temperature',
  'content',
  'lm_head.weight',
  'model.layers.0.mlp.up_proj.weight',
  'model.layers.99.mlp.gate.weight',
]

const fragments = [
  '',
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '\\',
  '\\u0061',
  '\\ud800',
  '\u0000',
  '0',
  '9',
  '-',
  'e',
  '1e9',
  'null',
  '[[[[',
  '{{',
  '}}',
  '{%',
  '%}',
  '{{ raise_exception("no") }}',
  '{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}',
  '{% set x = "a" * 999999999 %}',
  '{% set ns = namespace(s="aaaaaaaaaaaaaaaa") %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}',
  '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}',
  '{{ messages | tojson }}',
  '{{ messages[0].content.split("") | join("x") }}',
  '{{ "x" | replace("", "yyyy") }}',
  '{{ [1,2,3] | sort(attribute="a.b") }}',
  '{{ strftime_now("%Y") }}',
  '{% if %}',
  '<|im_end|>',
  '{{ messages.__proto__ }}',
  '{{ "a".constructor }}',
  '{% break %}',
  '(',
  ')',
  '*',
  '+',
  '가',
  '😀',
]

const value = fc.oneof(
  { weight: 30, arbitrary: fc.constantFrom(...values) },
  { weight: 1, arbitrary: fc.constantFrom(...longTexts.keys()) },
)
const step = fc.nat({ max: 100_000 })

const treeEdit: fc.Arbitrary<TreeEdit> = fc.record({
  path: fc.array(step, { minLength: 1, maxLength: 5 }),
  change: fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('replace' as const), text: value }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('duplicate' as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('rename' as const), key: fc.constantFrom(...keys) }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('insert' as const), key: fc.constantFrom(...keys), text: value }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('nudge' as const),
        by: fc.constantFrom(-1, 1, 0, 8, -8, 2 ** 31, 2 ** 53),
        times: fc.constantFrom(1, -1, 2, 0.5, 1e9),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('swap' as const), with: step }) },
  ),
})

const share = fc.double({ min: 0, max: 1, noNaN: true })

const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('tree' as const),
      edits: fc.array(treeEdit, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('cut' as const),
      edits: fc.array(
        fc.record({
          at: share,
          removed: fc.nat({ max: 12 }),
          added: fc.oneof(fc.constantFrom(...fragments), fc.string({ maxLength: 6 })),
        }),
        { minLength: 1, maxLength: 4 },
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('header-length' as const),
      length: fc.oneof(
        fc.constantFrom(
          '0',
          '1',
          '2',
          '7',
          '99999999',
          '100000001',
          '4294967295',
          '4294967296',
          '9007199254740993',
          '18446744073709551615',
        ),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
        fc.nat({ max: 40_000 }).map(String),
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('size' as const), share, added: fc.constantFrom(0, 0, 1, 4096) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('bytes' as const),
      edits: fc.array(fc.record({ at: share, byte: fc.nat({ max: 255 }) }), { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('place' as const),
      place: fc.constantFrom(
        'missing' as const,
        'empty' as const,
        'folder' as const,
        'link-out' as const,
        'link-loop' as const,
        'device' as const,
      ),
    }),
  },
)

export const fuzzCase: fc.Arbitrary<FuzzCase> = fc
  .constantFrom(...Object.entries(corpus).flatMap(([base, files]) => files.map((file) => ({ base, file }))))
  .chain(({ base, file }) => change.map((one) => ({ base, file, change: one })))
