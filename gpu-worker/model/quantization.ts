/**
 * How a checkpoint's modules are quantised, by the word of its `quantization_config` (older: `compression_config`).
 *
 *     compressed-tensors   `pack-quantized`: groups of targets with 4- or 8-bit integer weights, and what to ignore
 *     fp8                  e4m3 in blocks (DeepSeek-V3's), and what not to convert
 *
 * It knows module names, no tensors: `layout.ts` holds its word against what lies on disk. What would change the result
 * is refused by name; only weights are taken from it, whatever it says of activations.
 */
import { z } from 'zod'
import { CheckpointError, nameOrQuote, quote } from './checkpoint-error.ts'
import { describeProblems, harmless, only, onlyEmpty } from './config-fields.ts'
import { compileModulePattern, type ModulePattern } from './module-pattern.ts'
import type { StepBudget } from './pattern-machine.ts'

/** How one module's weight [rows, columns] is quantised. */
export type QuantizationScheme =
  | {
      readonly kind: 'int4' | 'int8'
      /** Columns that share a scale; the last group may be short. 'row': one scale a row; 'tensor': one in all. */
      readonly scaleSpan: number | 'row' | 'tensor'
      readonly hasZeroPoints: boolean
    }
  | { readonly kind: 'fp8'; readonly blockRows: number; readonly blockColumns: number }

export interface Quantization {
  readonly method: 'compressed-tensors' | 'fp8'
  /** By the full name of a linear module, `model.layers.3.mlp.experts.7.up_proj`; null: stored plain. */
  schemeOf(module: string): QuantizationScheme | null
  /** What the config asks for that does not concern weights, in sentences. */
  readonly warnings: readonly string[]
}

/** A hostile list of patterns ends here, after seconds; A.X K1's 35,000 modules against five patterns take 30 million. */
const STEPS_MAX = 100_000_000
const TARGETS_MAX = 1 << 17
const GROUPS_MAX = 256
const GROUP_COLUMNS_MAX = 1 << 24
const BLOCK_MAX = 1 << 16

/** `quantization_config` of a parsed config.json; null when nothing is quantised. Throws CheckpointError. */
export function parseQuantization(json: unknown): Quantization | null {
  const fields = isRecord(json) ? json : {}
  const config = fields['quantization_config'] ?? null
  const older = fields['compression_config'] ?? null
  if (config !== null && older !== null && JSON.stringify(config) !== JSON.stringify(older)) {
    throw refuse('compression_config: expected the same as quantization_config, got another')
  }
  const value = config ?? older
  if (value === null) return null
  const method = isRecord(value) ? value['quant_method'] : undefined
  if (method === 'compressed-tensors') return parseCompressedTensors(value)
  if (method === 'fp8') return parseFp8(value)
  throw refuse(`quant_method: not supported yet: ${quote(method)} (only "compressed-tensors" and "fp8")`)
}

const names = z.array(z.string().max(1024)).max(TARGETS_MAX)

/** `QuantizationArgs` of compressed-tensors 0.15; how scales were found is no longer of interest. */
const weightArgs = z.strictObject({
  num_bits: z.union([z.literal(4), z.literal(8)], { error: 'not supported yet (only 4 and 8)' }).default(8),
  type: z.literal('int', { error: 'not supported yet (only "int")' }).default('int'),
  symmetric: z.boolean().default(true),
  strategy: z
    .enum(['group', 'channel', 'tensor'], { error: 'not supported yet (only "group", "channel" and "tensor")' })
    .nullish(),
  group_size: z.int().min(-1).max(GROUP_COLUMNS_MAX).nullish(),
  block_structure: only(null),
  dynamic: only(false),
  // By "weight" (older: "static") columns are only visited in another order; by "group" they are stored so.
  actorder: z.enum(['weight', 'static'], { error: 'not supported yet: columns in another order (g_idx)' }).nullish(),
  observer: harmless,
  observer_kwargs: harmless,
  scale_dtype: harmless,
  zp_dtype: harmless,
})

const format = z.literal('pack-quantized', { error: 'not supported yet (only "pack-quantized")' })

const groupScheme = z.strictObject({
  targets: names,
  weights: weightArgs.nullish(),
  input_activations: only(null),
  output_activations: only(null),
  format: format.nullish(),
})

/** `QuantizationConfig` of compressed-tensors 0.15. */
const compressedTensors = z.strictObject({
  quant_method: z.literal('compressed-tensors'),
  format: z.enum(['pack-quantized', 'mixed-precision'], { error: 'not supported yet (only "pack-quantized")' }),
  quantization_status: only('compressed'),
  config_groups: z.record(z.string(), groupScheme),
  ignore: names.nullish(),
  kv_cache_scheme: only(null),
  sparsity_config: onlyEmpty,
  transform_config: onlyEmpty,
  global_compression_ratio: harmless,
  run_compressed: harmless,
  dequantize: harmless,
  use_optimized_inference: harmless,
  version: harmless,
})

/**
 * A module is quantised by its first matching target, unless `ignore` matches. Targets that are its name go before
 * patterns, patterns in the order of the alphabet before classes (`match_targets`, `_scheme_from_targets` of
 * compressed-tensors). All modules we ask about are `torch.nn.Linear`.
 */
function parseCompressedTensors(value: unknown): Quantization {
  const config = parseFields(compressedTensors, value)
  const groups = Object.entries(config.config_groups)
  if (groups.length > GROUPS_MAX) throw refuse(`config_groups: expected at most ${GROUPS_MAX}, got ${groups.length}`)
  const budget = { left: STEPS_MAX }
  const schemes = new Map<string, QuantizationScheme | null>()
  for (const [name, group] of groups) {
    if (config.format === 'mixed-precision' && group.format !== 'pack-quantized' && group.weights) {
      throw refuse(
        `config_groups.${nameOrQuote(name)}.format: not supported yet: ${quote(group.format)} (only "pack-quantized")`,
      )
    }
    for (const target of group.targets) schemes.set(target, schemeOfWeights(name, group.weights ?? null))
  }
  const ignored = matcher('ignore', config.ignore ?? [], budget)
  const targeted = matcher('config_groups', [...schemes.keys()], budget)
  return {
    method: 'compressed-tensors',
    warnings: [],
    schemeOf: remembered((module) => {
      const target = targeted(module)
      return target === null || ignored(module) !== null ? null : (schemes.get(target) ?? null)
    }),
  }
}

function schemeOfWeights(group: string, weights: z.infer<typeof weightArgs> | null): QuantizationScheme | null {
  if (weights === null) return null
  const { symmetric } = weights
  const size = weights.group_size ?? null
  const strategy = weights.strategy ?? (size === null ? 'tensor' : size > 0 ? 'group' : 'channel')
  if ((strategy === 'group') !== (size !== null && size > 0)) {
    const expected = strategy === 'group' ? 'a size' : `none with strategy "${strategy}"`
    throw refuse(`config_groups.${nameOrQuote(group)}.weights.group_size: expected ${expected}, got ${size}`)
  }
  // Its zero point is stored in another way than the others'.
  if (strategy === 'tensor' && !symmetric) {
    throw refuse(
      `config_groups.${nameOrQuote(group)}.weights.symmetric: not supported yet: false with strategy "tensor"`,
    )
  }
  return {
    kind: weights.num_bits === 4 ? 'int4' : 'int8',
    scaleSpan: strategy === 'group' && size !== null ? size : strategy === 'channel' ? 'row' : 'tensor',
    hasZeroPoints: !symmetric,
  }
}

/** Of the targets that match a module the one that counts, or null. */
function matcher(field: string, targets: readonly string[], budget: StepBudget): (module: string) => string | null {
  const patterns = targets
    .filter((target) => target.startsWith('re:'))
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((target) => ({ target, pattern: compiled(field, target.slice('re:'.length), budget) }))
  const exact = new Set(targets)
  const ofClass = ['Linear', 'Module'].find((name) => exact.has(name)) ?? null
  return (module) => {
    if (exact.has(module)) return module
    return patterns.find(({ pattern }) => within(field, () => pattern.matches(module)))?.target ?? ofClass
  }
}

/** `FineGrainedFP8Config` of transformers 5.18; DeepSeek-V3's own has the first four fields. */
const fp8 = z.strictObject({
  quant_method: z.literal('fp8'),
  fmt: only('e4m3'),
  activation_scheme: only('dynamic'),
  weight_block_size: z.tuple([z.int().min(1).max(BLOCK_MAX), z.int().min(1).max(BLOCK_MAX)], {
    error: 'not supported yet (only [rows, columns])',
  }),
  modules_to_not_convert: names.nullish(),
  ignored_layers: names.nullish(),
  modules_to_convert: z.array(z.string()).max(0, 'not supported yet (only empty)').nullish(),
  // Scales that are powers of two are stored as any other.
  scale_fmt: z.enum(['float', 'ue8m0']).nullish(),
  dequantize: harmless,
})

/**
 * All linear modules are converted but those that `modules_to_not_convert` matches: as a pattern from the name's first
 * character on, or as its end (`should_convert_module` of transformers). Without a list that is the head alone.
 */
function parseFp8(value: unknown): Quantization {
  const config = parseFields(fp8, value)
  const [blockRows, blockColumns] = config.weight_block_size
  const field = 'modules_to_not_convert'
  const kept = config.modules_to_not_convert ?? config.ignored_layers ?? ['lm_head']
  const budget = { left: STEPS_MAX }
  const patterns = kept.map((key) => ({ key, pattern: compiled(field, key, budget) }))
  const scheme: QuantizationScheme = { kind: 'fp8', blockRows, blockColumns }
  const isKept = (module: string): boolean =>
    patterns.some(({ key, pattern }) => module.endsWith(key) || within(field, () => pattern.matches(module)))
  return {
    method: 'fp8',
    warnings: [
      'activation_scheme asks for activations in fp8: they stay in f32 here, only the weights are taken as fp8',
    ],
    schemeOf: remembered((module) => (isKept(module) ? null : scheme)),
  }
}

function parseFields<Fields extends z.ZodType>(fields: Fields, value: unknown): z.infer<Fields> {
  const parsed = fields.safeParse(value)
  if (!parsed.success) throw refuse(describeProblems(parsed.error))
  return parsed.data
}

function compiled(field: string, source: string, budget: StepBudget): ModulePattern {
  return within(`${field}: ${quote(source)}`, () => compileModulePattern(source, budget))
}

function within<Result>(what: string, act: () => Result): Result {
  try {
    return act()
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) throw refuse(`${what}: ${error.message}`)
    throw error
  }
}

/** Each module is matched once. */
function remembered<Result>(find: (module: string) => Result): (module: string) => Result {
  const known = new Map<string, { readonly result: Result }>()
  return (module) => {
    const found = known.get(module) ?? { result: find(module) }
    known.set(module, found)
    return found.result
  }
}

function refuse(problem: string): CheckpointError {
  return new CheckpointError('config.json', `quantization_config: ${problem}`)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
