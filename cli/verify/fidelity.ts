/**
 * docs/fidelity.md: the errors reached on every checkpoint that comes with the repository, as measured here and now.
 *
 * What a golden exercises is said by test/goldens/README.md, versions by the files and packages; nothing is typed in.
 */
import { access, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { AdapterFacts } from '../../gpu-worker/gpu/device.ts'
import { loadRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { warningsOf } from '../load-warnings.ts'
import { openExpectedOutputs } from './expected-outputs.ts'
import { measure, type PromptErrors } from './measure.ts'
import { roundedFrequencies, type FrequencyType } from './rounded-frequencies.ts'
import { meanNmse, NMSE_MAX, scientific, shortfalls, worstNmse, worstNmseRoutedAlike } from './verdict.ts'

export interface FidelityRow {
  readonly name: string
  readonly exercises: string
  readonly positions: number
  readonly reference: string
  readonly exact: readonly PromptErrors[]
  readonly kv16: readonly PromptErrors[]
  /** With the binding limit forced down. */
  readonly smallBindings: readonly PromptErrors[]
  /** Against the frozen expectations of a reference that had rounded its frequencies; null where there are none. */
  readonly frozen: { readonly type: FrequencyType; readonly results: readonly PromptErrors[] } | null
  readonly problems: readonly string[]
}

/** As the issue words it: all goldens also pass with the limit forced to 64 KiB. */
export const SMALL_BINDING_BYTES = 64 * 1024
/** So few that the arrays of a step fit into one binding. */
export const SMALL_BINDING_ROWS = 16
const SEQUENCES_MAX = 12
/** The frozen expectations repeat what `exact` shows; that repetition is held to more. */
const FROZEN_NMSE_MAX = 1e-10
const TINY = 'axk1-tiny'

export async function measureAll(
  root: string,
  report: (line: string) => void,
): Promise<{ rows: FidelityRow[]; adapter: AdapterFacts }> {
  const goldens = join(root, 'test/goldens')
  const described = exercisesByName(await readFile(join(goldens, 'README.md'), 'utf8'))
  const rows: FidelityRow[] = []
  let adapter: AdapterFacts | undefined
  for (const [name, exercises] of [[TINY, 'the trained model that ships: bf16, fused, YaRN'] as const, ...described]) {
    const dir = name === TINY ? join(root, 'models', name) : join(goldens, name)
    const { row, facts } = await measureOne(name, exercises, dir)
    report(`${name}: exact ${scientific(worstNmse(row.exact))}, kv16 ${scientific(worstNmse(row.kv16))}`)
    for (const problem of row.problems) report(`  ${problem}`)
    rows.push(row)
    adapter = facts
  }
  if (adapter === undefined) throw new Error(`There is no golden in ${goldens}`)
  return { rows, adapter }
}

/** Rows `| \`name\` | text |` of the goldens' README that name a folder. */
export function exercisesByName(readme: string): [name: string, exercises: string][] {
  const section = readme.slice(readme.indexOf('| what it exercises |'))
  return [...section.matchAll(/^\| `([a-z0-9-]+)` \| (.+) \|$/gm)].map(([, name = '', exercises = '']) => [
    name,
    exercises,
  ])
}

/** A checkpoint through a fresh Runner against the answers in `file`. */
export async function verifyFile(
  dir: string,
  file: string,
  options: Partial<LoadOptions> = {},
  chunkings?: readonly number[],
): Promise<{ results: PromptErrors[]; adapter: AdapterFacts; warnings: string[] }> {
  const expected = await openExpectedOutputs(file)
  try {
    const loaded = await loadRunner({ checkpoint: dir, sequencesMax: SEQUENCES_MAX, ...options })
    const { runner, adapter } = loaded
    try {
      return { results: await measure(loaded, expected, chunkings), adapter, warnings: warningsOf(loaded) }
    } finally {
      await runner.close()
    }
  } finally {
    await expected.close()
  }
}

async function measureOne(
  name: string,
  exercises: string,
  dir: string,
): Promise<{ row: FidelityRow; facts: AdapterFacts }> {
  const frozenFile = join(dir, 'expected.safetensors')
  const float32File = join(dir, 'float32.safetensors')
  const hasFloat32 = await exists(float32File)
  const truth = hasFloat32 ? float32File : frozenFile
  let facts: AdapterFacts | undefined
  const run = async (file: string, options: Partial<LoadOptions> = {}): Promise<PromptErrors[]> => {
    const { results, adapter } = await verifyFile(dir, file, options)
    facts = adapter
    return results
  }
  const exact = await run(truth)
  const kv16 = await run(truth, { profile: 'kv16' })
  const smallBindings = await run(truth, { bindingBytesMax: SMALL_BINDING_BYTES, rowsMax: SMALL_BINDING_ROWS })
  const type = await storedType(dir)
  const isReplayed = hasFloat32 && (await exists(frozenFile))
  const frozen = isReplayed
    ? { type, results: await run(frozenFile, { inverseFrequencies: roundedFrequencies(type) }) }
    : null
  const expected = await openExpectedOutputs(truth)
  const { metadata, prompts } = expected
  await expected.close()
  const reference = [...metadata].map(([key, version]) => `${key} ${version}`).toSorted()
  const problems = [
    ...shortfalls(exact, 'exact').map((problem) => `exact, ${problem}`),
    ...shortfalls(kv16, 'kv16').map((problem) => `kv16, ${problem}`),
    ...shortfalls(smallBindings, 'exact').map((problem) => `small bindings, ${problem}`),
    ...(frozen !== null && worstNmse(frozen.results) > FROZEN_NMSE_MAX ? ['the frozen expectations are not met'] : []),
  ]
  const positions = prompts.filter((prompt) => prompt.hasLogits).reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)
  if (facts === undefined) throw new Error('A Runner says what it runs on')
  const row = {
    name,
    exercises,
    positions,
    reference: reference.join(', '),
    exact,
    kv16,
    smallBindings,
    frozen,
    problems,
  }
  return { row, facts }
}

async function storedType(dir: string): Promise<FrequencyType> {
  const config: unknown = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'))
  const type = typeof config === 'object' && config !== null && 'torch_dtype' in config ? config.torch_dtype : ''
  if (type === 'bfloat16') return 'bf16'
  return type === 'float16' ? 'f16' : 'f32'
}

export function fidelityPage(rows: readonly FidelityRow[], adapter: AdapterFacts, date: Date): string {
  const lines = rows.map((row) => {
    const frozen = row.frozen ? `${scientific(worstNmse(row.frozen.results))} (${row.frozen.type})` : '–'
    const cells = [
      `\`${row.name}\``,
      `${row.positions}`,
      `**${scientific(worstNmse(row.exact))}**`,
      scientific(meanNmse(row.exact)),
      scientific(worstNmse(row.smallBindings)),
      frozen,
      `**${scientific(worstNmseRoutedAlike(row.kv16))}**`,
      tippedOf(row.kv16),
      both(row, ({ greedyEqual }) => greedyEqual),
      both(row, ({ chunkingsEqual }) => chunkingsEqual),
    ]
    return `| ${cells.join(' | ')} |`
  })
  const references = [...new Set(rows.map(({ reference }) => reference).filter((reference) => reference !== ''))]
  const problems = rows.flatMap(({ name, problems: all }) => all.map((problem) => `- \`${name}\`: ${problem}`))
  return `# Fidelity

Written by \`npm run axle -- verify --all --write docs/fidelity.md\`; not edited by hand.

| | |
|---|---|
| date | ${date.toISOString().slice(0, 10)} |
| adapter | ${adapter.description} (${adapter.vendor}, ${adapter.backend}); toggles: ${adapter.toggles.join(', ') || 'none'} |
| software | Dawn in \`webgpu\` ${dawnVersion()}, Node ${process.versions.node} |
| reference | ${references.join('; ')}: \`from_pretrained(dtype=torch.float32, attn_implementation="eager")\`, quantised weights dequantised to float32 |

NMSE of a position is Σ(got − wanted)² / Σ wanted² over the vocabulary; **the worst single position** counts, the mean is
for the reader. Goal: ≤ ${scientific(NMSE_MAX.exact)} in profile \`exact\` (aim 1e-10), with the reference's routed experts and greedy answers;
≤ ${scientific(NMSE_MAX.kv16)} in \`kv16\` (KV cache in f16) up to a prompt's first tipped position. A rounded cache can tip a routing that
stood on an edge; *tipped* counts such positions, and gives the worst NMSE with them and after them: another expert's answer,
not a rounding error. Greedy and chunkings (steps of 1, 7, 64 and all rows give the same bits) are said for \`exact\`, \`kv16\`.
*In 64 KiB*: \`exact\` with the binding limit forced to 64 KiB. *Frozen*: against the older expectations, whose reference had
rounded its RoPE frequencies to 16 bits, with that rounding repeated ([why](../test/goldens/README.md)).

| checkpoint | positions | exact: worst | mean | in 64 KiB: worst | frozen: worst | kv16: worst | tipped | greedy | chunkings |
|---|---|---|---|---|---|---|---|---|---|
${lines.join('\n')}

${problems.length === 0 ? 'Everything holds.' : `**Falls short:**\n\n${problems.join('\n')}`}

## What each exercises

| checkpoint | |
|---|---|
${rows.map(({ name, exercises }) => `| \`${name}\` | ${exercises} |`).join('\n')}
`
}

/** Positions that f16 KV routes to other experts, and the worst error with them. */
function tippedOf(results: readonly PromptErrors[]): string {
  const count = results.reduce((sum, { routedElsewhere }) => sum + (routedElsewhere ?? 0), 0)
  if (count === 0) return '0'
  const of = results.reduce((sum, { routedElsewhere, tokens }) => sum + (routedElsewhere === null ? 0 : tokens), 0)
  return `${count} of ${of} (${scientific(worstNmse(results))})`
}

function both({ exact, kv16 }: FidelityRow, claim: (result: PromptErrors) => boolean | null): string {
  return [exact, kv16].map((results) => summary(results.map(claim))).join(', ')
}

function summary(claims: readonly (boolean | null)[]): string {
  const known = claims.filter((claim) => claim !== null)
  if (known.length === 0) return '–'
  const wrong = known.filter((claim) => !claim).length
  return wrong === 0 ? 'equal' : `${wrong} of ${known.length} differ`
}

function dawnVersion(): string {
  const dawn: unknown = createRequire(import.meta.url)('webgpu/package.json')
  return typeof dawn === 'object' && dawn !== null && 'version' in dawn ? String(dawn.version) : 'unknown'
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
