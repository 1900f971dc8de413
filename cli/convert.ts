/**
 * `axle convert`: a checkpoint of floats becomes a compressed-tensors checkpoint of int4 or int8, with an account of what
 * that cost: the error of every weight, and of the logits where this machine can run both.
 *
 * What is done stands in `convert/`; here are the arguments and what is printed.
 */
import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { byteSizeForms, formatBytes, parseBytes } from '../gpu-worker/model/byte-size.ts'
import { convertCheckpoint, type ConversionRequest } from './convert/convert-checkpoint.ts'
import { writeRecord, type ConversionRecord, type LogitError } from './convert/conversion-record.ts'
import { errorTables, summarize } from './convert/error-table.ts'
import { logitPrompts } from './convert/logit-prompts.ts'
import { ProgressLine } from './convert/progress-line.ts'
import { reportFailure } from './report-failure.ts'

const GROUPS = ['32', '64', '128']
/** Keeps memory at a few hundred MiB; `--threads` may ask for more. */
const THREADS_MAX = 8
/** A header takes its part. */
const HEADER_ALLOWANCE_BYTES = 1 << 20
const DEFAULT_SHARD_BYTES = 2 ** 31 - HEADER_ALLOWANCE_BYTES

const HELP = `npm run --silent axle -- convert DIR OUT [--experts int4|int8] [--rest bf16|int8] [--group 32|64|128]

Writes a checkpoint of DIR's model with quantised weights to the new folder OUT, in the format of compressed-tensors
(pack-quantized, symmetric, bf16 scales), which Axle and vLLM's readers load. DIR may be f32, f16 or bf16, with fused
experts or one tensor an expert, in one file or in shards. Router, norms, embedding, head and biases stay as stored.

  --experts F      routed experts: int4 (4.5 bits a weight at group 32) or int8 (int4)
  --rest F         attention, dense MLPs, shared experts: int8, or bf16, which stands for "not quantised": an f32 or
                   f16 source keeps its type (bf16)
  --group N        columns that share a scale: 32, 64 or 128; smaller is truer and larger on disk (32)
  --no-logits      do not run source and result on the GPU to compare their logits
  --ids-file F     compare on tensors ids.<k> (i32 [T]) of this safetensors file; without it on chats.json of DIR, or
                   on fixed texts when DIR has a tokenizer
  --threads N      threads that quantise, 45 MiB each (one a core, at most ${THREADS_MAX})
  --shard-bytes N  largest file, unless one tensor is larger: a number, 500MB, 4GiB … (2GiB)

A run that was stopped is gone on with by the same command; whole shards are not made again, and the result has the same
bytes. OUT/conversion-report.json tells the error of every weight. AXLE_GPU_BYTES bounds what the GPU may be given.

  npm run --silent axle -- convert ~/A.X-K1 ~/A.X-K1-int4 --experts int4 --rest int8 --group 32
  npm run --silent axle -- convert models/axk1-tiny /tmp/tiny-int8 --experts int8 --rest int8 --group 128`

interface Request {
  readonly conversion: ConversionRequest
  readonly idsFile: string | null
  readonly compareLogits: boolean
  readonly gpuBytesMax: number | null
}

/** Prints what went wrong on stderr and sets exit code 1. */
export async function convert(args: string[]): Promise<void> {
  try {
    const request = parse(args, process.env)
    if (request === null) console.log(HELP)
    else await run(request)
  } catch (error) {
    reportFailure(error)
  }
}

async function run({ conversion, idsFile, compareLogits, gpuBytesMax }: Request): Promise<void> {
  const { sourceDir, outDir } = conversion
  // Wrong ids are found before the hours, not after.
  const prompts = compareLogits ? await logitPrompts(sourceDir, idsFile) : null
  const record = await convertWithProgress(conversion)
  console.log(errorTables(summarize(record.wholeShards.flatMap(({ modules }) => modules))))
  console.log(`\n${await writtenTo(outDir, record)}`)
  if (!compareLogits) return
  if (prompts === null) {
    console.log('\nLogits: not compared: there is no tokenizer in the source; --ids-file gives token ids')
    return
  }
  // Only here: a conversion needs no GPU.
  const { measureLogitError } = await import('./convert/logit-error.ts')
  const outcome = await measureLogitError({ sourceDir, outDir, prompts, gpuBytesMax })
  if (outcome.kind === 'skipped') {
    console.log(`\nLogits: not compared: ${outcome.reason}`)
    return
  }
  await writeRecord(outDir, { ...record, logits: outcome.error })
  console.log(`\n${describe(outcome.error)}`)
}

/** What there is now, and where. */
async function writtenTo(outDir: string, { wholeShards }: ConversionRecord): Promise<string> {
  const sizes = await Promise.all(wholeShards.map(async ({ file }) => (await stat(join(outDir, file))).size))
  const bytes = formatBytes(sizes.reduce((sum, size) => sum + size, 0))
  return `Written to ${outDir}: ${bytes} of weights in ${sizes.length === 1 ? 'one file' : `${sizes.length} files`}`
}

function describe(error: LogitError): string {
  const { prompts, promptCount, positionCount, nmse, medianNmse, worstNmse, topAgreement } = error
  const [all, median, worst] = [nmse, medianNmse, worstNmse].map((value) => value.toExponential(1))
  return (
    `Logits over ${positionCount} positions of ${promptCount} prompts (${prompts}): NMSE ${all}, ` +
    `median position ${median}, worst ${worst}; same highest logit at ${(topAgreement * 100).toFixed(1)} %`
  )
}

async function convertWithProgress(conversion: ConversionRequest): Promise<ConversionRecord> {
  const line = new ProgressLine({
    isTerminal: process.stderr.isTTY,
    write: (text) => process.stderr.write(text),
    now: () => performance.now(),
  })
  try {
    return await convertCheckpoint(conversion, ({ bytesDone, bytesTotal, bytesNow, file }) =>
      line.update(bytesDone, bytesTotal, file, bytesNow),
    )
  } finally {
    line.end()
  }
}

function parse(args: string[], environment: NodeJS.ProcessEnv): Request | null {
  const text = { type: 'string' } as const
  const options = {
    experts: text,
    rest: text,
    group: text,
    'ids-file': text,
    'no-logits': { type: 'boolean' },
    threads: text,
    'shard-bytes': text,
    help: { type: 'boolean', short: 'h' },
  } as const
  const { values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: true })
  if (values.help === true) return null
  const [sourceDir, outDir, extra] = positionals
  if (sourceDir === undefined || outDir === undefined || extra !== undefined) {
    throw new TypeError(`Expected two folders, DIR and OUT, got ${positionals.length} arguments\n\n${HELP}`)
  }
  const mix = {
    experts: oneOf('--experts', values.experts ?? 'int4', ['int4', 'int8']),
    rest: oneOf('--rest', values.rest ?? 'bf16', ['bf16', 'int8']),
    group: Number(oneOf('--group', values.group ?? '32', GROUPS)),
  }
  const threadCount = positive('--threads', values.threads) ?? Math.min(availableParallelism(), THREADS_MAX)
  const shardBytesMax = byteCount('--shard-bytes', values['shard-bytes']) ?? DEFAULT_SHARD_BYTES
  return {
    conversion: { sourceDir, outDir, mix, shardBytesMax, threadCount },
    idsFile: values['ids-file'] ?? null,
    compareLogits: values['no-logits'] !== true,
    gpuBytesMax: byteCount('AXLE_GPU_BYTES', environment['AXLE_GPU_BYTES'] || undefined),
  }
}

function oneOf<const T extends string>(option: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value)
  if (found === undefined) throw new RangeError(`${option}: expected ${allowed.join(', ')}, got ${value}`)
  return found
}

function positive(option: string, value: string | undefined): number | null {
  if (value === undefined) return null
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new RangeError(`${option}: expected a whole number, got ${value}`)
  return number
}

function byteCount(option: string, value: string | undefined): number | null {
  if (value === undefined) return null
  const bytes = parseBytes(value)
  if (bytes === null || bytes < 1) throw new RangeError(`${option}: expected ${byteSizeForms}, got ${value}`)
  return bytes
}
