/**
 * `axle logits`: logits of given token ids, computed by the serving Runner — paged cache, WGSL — as safetensors.
 *
 * Reads tensors `ids.<k>` (i32 [T]) of one file, writes `logits.<k>` (f32 [T, vocab]) to another. Knows no text.
 */
import { access, constants, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import type { BlockId } from '../gpu-worker/engine/batch.ts'
import type { Runner } from '../gpu-worker/engine/runner.ts'
import { CheckpointError } from '../gpu-worker/model/checkpoint-error.ts'
import { loadRunner } from '../gpu-worker/model/load-runner.ts'
import { readSafetensors, writeSafetensors, type TensorData } from '../gpu-worker/model/safetensors.ts'
import { warningsOf } from './load-warnings.ts'
import { reportFailure } from './report-failure.ts'

const HELP = `npm run --silent axle -- logits --model DIR --ids-file F --out G [--rows N] [--toggles A,B]

  --model DIR     checkpoint folder, in any format that Axle serves
  --ids-file F    safetensors with tensors ids.<k>, i32 [T]
  --out G         safetensors to write: logits.<k>, f32 [T, vocab]
  --rows N        rows of one prefill step (256)
  --toggles A,B   Dawn toggles to enable (none)`

const DEFAULT_ROWS = 256

interface Request {
  readonly modelDir: string
  readonly idsFile: string
  readonly outFile: string
  readonly rowsMax: number
  readonly toggles: readonly string[]
}

/** Prints what went wrong on stderr and sets exit code 1. */
export async function logits(args: string[]): Promise<void> {
  try {
    const request = parse(args)
    if (request === null) console.log(HELP)
    else await compute(request)
  } catch (error) {
    reportFailure(error)
  }
}

async function compute({ modelDir, idsFile, outFile, rowsMax, toggles }: Request): Promise<void> {
  const prompts = await readPrompts(idsFile)
  await checkWritable(outFile)
  const loaded = await loadRunner({ checkpoint: modelDir, sequencesMax: 1, rowsMax, toggles })
  const { runner, adapter } = loaded
  try {
    const names = adapter.toggles.join(', ') || 'none'
    console.error(`adapter: ${adapter.description} (${adapter.vendor}, ${adapter.backend}), toggles: ${names}`)
    for (const warning of warningsOf(loaded)) console.error(warning)
    const tensors: TensorData[] = []
    for (const [key, ids] of prompts) tensors.push(await logitsOf(runner, key, ids))
    await writeSafetensors(outFile, tensors)
  } finally {
    await runner.close()
  }
}

function parse(args: string[]): Request | null {
  const text = { type: 'string' } as const
  const options = {
    model: text,
    'ids-file': text,
    out: text,
    rows: text,
    toggles: text,
    help: { type: 'boolean', short: 'h' },
  } as const
  const { values } = parseArgs({ args, options, strict: true })
  if (values.help === true) return null
  const rowsMax = Number(values.rows ?? DEFAULT_ROWS)
  if (!Number.isInteger(rowsMax) || rowsMax < 1)
    throw new RangeError(`--rows: expected a whole number, got ${values.rows}`)
  return {
    modelDir: required(values.model, '--model'),
    idsFile: required(values['ids-file'], '--ids-file'),
    outFile: required(values.out, '--out'),
    rowsMax,
    toggles: (values.toggles ?? '').split(',').filter((toggle) => toggle !== ''),
  }
}

function required(value: string | undefined, name: string): string {
  if (value === undefined) throw new TypeError(`${name} is missing\n\n${HELP}`)
  return value
}

/** Says so before the work, not after it. */
async function checkWritable(path: string): Promise<void> {
  try {
    await access(dirname(path), constants.W_OK)
  } catch (cause) {
    throw new Error(`--out: cannot write ${path}: its folder is missing or read-only`, { cause })
  }
  const there = await stat(path).catch(() => null)
  if (there?.isDirectory() === true) throw new Error(`--out: expected a file, got the folder ${path}`)
}

async function readPrompts(path: string): Promise<Map<string, number[]>> {
  const file = await readSafetensors(path)
  try {
    const prompts = new Map<string, number[]>()
    for (const { name, type, shape } of file.tensors.values()) {
      const key = /^ids\.(.+)$/.exec(name)?.[1]
      if (key === undefined) continue
      if (type !== 'i32' || shape.length !== 1)
        throw new CheckpointError(path, `${name}: expected i32 [T], got ${type} [${shape.join()}]`)
      const bytes = await file.read(name)
      prompts.set(key, [...new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)])
    }
    if (prompts.size === 0) throw new CheckpointError(path, 'there is no tensor ids.<k>')
    return prompts
  } finally {
    await file.close()
  }
}

async function logitsOf(runner: Runner, key: string, ids: readonly number[]): Promise<TensorData> {
  const { rowsMax, vocabSize, blockTokens, blockCount, contextTokensMax } = runner.limits
  const tokensMax = Math.min(contextTokensMax, blockCount * blockTokens)
  const wrong = ids.find((id) => id < 0 || id >= vocabSize)
  if (ids.length > tokensMax)
    throw new RangeError(`ids.${key}: expected at most ${tokensMax} tokens, got ${ids.length}`)
  if (wrong !== undefined) throw new RangeError(`ids.${key}: expected ids 0 … ${vocabSize - 1}, got ${wrong}`)
  const data = new Float32Array(ids.length * vocabSize)
  for (let start = 0; start < ids.length; start += rowsMax) {
    const tokenIds = ids.slice(start, start + rowsMax)
    // Ids 0 … n − 1 are blocks of the pool.
    const blocks = Array.from({ length: Math.ceil((start + tokenIds.length) / blockTokens) }, (_, i) => i as BlockId)
    const sequences = [{ tokenIds, start, blocks, sampler: null }]
    const step = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
    if (step.logits === undefined) throw new Error(`The Runner gave no logits for ids.${key}`)
    data.set(step.logits, start * vocabSize)
  }
  return { name: `logits.${key}`, type: 'f32', shape: [ids.length, vocabSize], data: new Uint8Array(data.buffer) }
}
