/**
 * The fuzzer's cases: one file of a checkpoint folder, and what is done to it. As data, so that a case can be sent to the
 * process that runs it, shrunk by fast-check, and printed.
 *
 * Draws and describes; it reads and writes no file.
 */
import * as fc from 'fast-check'
import { fragments, keys, values } from './hostile-texts.ts'
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
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant('nudge' as const),
        by: fc.constantFrom(-1, 1, -2, 2, 0, 8, -8, 0.5, 255, 65_535, 2 ** 24, 2 ** 31, 2 ** 53),
        times: fc.constantFrom(1, 1, 1, 0, -1, 2, 3, 4, 0.5, 0.25, 1e9),
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
      edits: fc.oneof(fc.tuple(treeEdit), fc.array(treeEdit, { minLength: 2, maxLength: 3 })),
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
