/**
 * `axle verify`: a checkpoint, computed by the serving Runner, against what a reference said of it: the table of errors.
 *
 * For one folder, or for all that come with the repository, whose table is docs/fidelity.md. It computes nothing itself.
 */
import { access, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { profiles, type Profile } from '../gpu-worker/model/profile.ts'
import { fidelityPage, measureAll, verifyFile } from './verify/fidelity.ts'
import { frequencyTypes, roundedFrequencies, type FrequencyType } from './verify/rounded-frequencies.ts'
import type { PromptErrors } from './verify/measure.ts'
import { scientific, shortfalls, tableOf, worstNmse, worstNmseRoutedAlike } from './verify/verdict.ts'
import { reportFailure } from './report-failure.ts'

const HELP = `npm run --silent axle -- verify DIR [options]
npm run --silent axle -- verify --all [--write FILE]

Computes what float32.safetensors or, where there is none, expected.safetensors of DIR holds a reference's answers to:
the error of every position's logits (NMSE), routed experts, greedy answers, and the same bits for steps of any size.
Exit code 1 when something falls short. Profile exact: NMSE ≤ 1e-8 at every position, all else equal. Profile kv16: NMSE
≤ 1e-5 up to the first position that is routed to other experts, and the same bits for steps of any size.

  DIR              folder of a checkpoint and of a reference's answers
  --model DIR      the checkpoint, if it is in another folder
  --expected FILE  the answers, if they are in another file
  --profile P      exact (default), kv16 or matrix
  --frequencies T  bf16 or f16: repeat a reference that rounded its inverse RoPE frequencies (f32)
  --binding-bytes N  a smaller binding limit than the adapter's
  --rows N         rows of one step (256)
  --toggles A,B    Dawn toggles to enable (none)
  --json           one JSON object instead of the table
  --all            every checkpoint that comes with the repository, in both profiles
  --write FILE     with --all: the page of results`

const DEFAULT_ROWS = 256

/** Prints what went wrong on stderr and sets exit code 1. */
export async function verify(args: string[]): Promise<void> {
  try {
    const { values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: true })
    if (values.help === true) console.log(HELP)
    else if (values.all === true) await verifyAll(values.write ?? null)
    else await verifyOne(parse(values, positionals))
  } catch (error) {
    reportFailure(error)
  }
}

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const options = {
  model: text,
  expected: text,
  profile: text,
  frequencies: text,
  'binding-bytes': text,
  rows: text,
  toggles: text,
  write: text,
  json: flag,
  all: flag,
  help: { type: 'boolean', short: 'h' },
} as const

interface Request {
  readonly modelDir: string
  readonly expectedFile: string | null
  readonly profile: Profile
  readonly frequencies: FrequencyType
  readonly bindingBytesMax: number | null
  readonly rowsMax: number
  readonly toggles: readonly string[]
  readonly isJson: boolean
}

function parse(
  values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values'],
  positionals: readonly string[],
): Request {
  const [dir = values.model, ...rest] = positionals
  if (dir === undefined || rest.length > 0) throw new TypeError(`expected one folder\n\n${HELP}`)
  return {
    modelDir: values.model ?? dir,
    expectedFile: values.expected ?? null,
    profile: oneOf('--profile', profiles, values.profile ?? 'exact'),
    frequencies: oneOf('--frequencies', frequencyTypes, values.frequencies ?? 'f32'),
    bindingBytesMax:
      values['binding-bytes'] === undefined ? null : positive('--binding-bytes', values['binding-bytes']),
    rowsMax: positive('--rows', values.rows ?? `${DEFAULT_ROWS}`),
    toggles: (values.toggles ?? '').split(',').filter((toggle) => toggle !== ''),
    isJson: values.json === true,
  }
}

function oneOf<Name extends string>(option: string, names: readonly Name[], value: string): Name {
  const found = names.find((name) => name === value)
  if (found === undefined) throw new TypeError(`${option}: expected ${names.join(' or ')}, got ${value}`)
  return found
}

function positive(option: string, value: string): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new RangeError(`${option}: expected a whole number, got ${value}`)
  return number
}

async function verifyOne(request: Request): Promise<void> {
  const { modelDir, profile, bindingBytesMax, rowsMax, toggles } = request
  const file = request.expectedFile ?? (await expectedFileOf(modelDir))
  const { results, adapter, warnings } = await verifyFile(modelDir, file, {
    profile,
    rowsMax,
    toggles,
    ...(bindingBytesMax === null ? {} : { bindingBytesMax }),
    ...(request.frequencies === 'f32' ? {} : { inverseFrequencies: roundedFrequencies(request.frequencies) }),
  })
  for (const warning of warnings) console.error(warning)
  const problems = shortfalls(results, profile)
  const holds = problems.length === 0
  if (request.isJson) {
    const about = { model: modelDir, expected: file, profile, adapter: adapter.description }
    console.log(JSON.stringify({ ...about, holds, problems, prompts: results }))
  } else {
    console.log(`${modelDir} against ${file}\nprofile ${profile}, ${adapter.description}\n\n${tableOf(results)}\n`)
    console.log(holds ? `holds: worst NMSE ${worstInWords(results)}` : problems.join('\n'))
  }
  if (!holds) process.exitCode = 1
}

/** The figure that was judged; where routing differs in kv16, what came after it too. */
function worstInWords(results: readonly PromptErrors[]): string {
  const [judged, all] = [worstNmseRoutedAlike(results), worstNmse(results)].map(scientific)
  return judged === all ? `${all}` : `${judged} up to the first position with other experts; after it up to ${all}`
}

/** The answers as loaded in float32, if they are there. */
export async function expectedFileOf(dir: string): Promise<string> {
  const best = join(dir, 'float32.safetensors')
  return access(best).then(
    () => best,
    () => join(dir, 'expected.safetensors'),
  )
}

async function verifyAll(target: string | null): Promise<void> {
  const root = resolve(import.meta.dirname, '..')
  const { rows, adapter } = await measureAll(root, (line) => console.error(line))
  const page = fidelityPage(rows, adapter, new Date())
  if (target === null) console.log(page)
  else await writeFile(target, page)
  if (rows.some((row) => row.problems.length > 0)) process.exitCode = 1
}
