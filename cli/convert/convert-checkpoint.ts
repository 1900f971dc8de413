/**
 * Converts a checkpoint folder, shard by shard: plan, write what is missing, then index, config and the small files.
 *
 * A killed run leaves whole shards, a partial one and a record of the whole ones; the next goes on behind them and ends with
 * the same bytes. Two at once are refused. config.json comes last: before it, no reader takes the folder for a checkpoint.
 */
import { readdir, rm, stat, statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { CheckpointError, quote } from '../../gpu-worker/model/checkpoint-error.ts'
import { readInside } from '../../gpu-worker/model/checkpoint-folder.ts'
import { MODEL_CONFIG_BYTES_MAX, openCheckpoint, type Checkpoint } from '../../gpu-worker/model/checkpoint.ts'
import { layoutModel } from '../../gpu-worker/model/layout.ts'
import { layoutSafetensors } from '../../gpu-worker/model/safetensors.ts'
import { decodeUtf8, parseStrictJson } from '../../gpu-worker/model/strict-json.ts'
import {
  outputTensors,
  planConversion,
  type ConversionMix,
  type ConversionPlan,
  type ShardPlan,
} from './conversion-plan.ts'
import { openRecord, writeRecord, type ConversionRecord } from './conversion-record.ts'
import { summarize } from './error-table.ts'
import { lockFolder } from './folder-lock.ts'
import { QuantizerPool } from './quantizer-pool.ts'
import { PARTIAL, writeWhole } from './shard-file.ts'
import { writeShard } from './shard-writer.ts'

export interface ConversionRequest {
  readonly sourceDir: string
  readonly outDir: string
  readonly mix: ConversionMix
  readonly shardBytesMax: number
  readonly threadCount: number
}

export interface ConversionProgress {
  /** Bytes of the source, whole shards of an earlier run included. */
  readonly bytesDone: number
  readonly bytesTotal: number
  /** Of `bytesDone`, those since the last call. */
  readonly bytesNow: number
  readonly file: string
}

const CONFIG_FILE = 'config.json'
const INDEX_FILE = 'model.safetensors.index.json'
/** What a tokenizer, a template and a licence are called. */
const COPIED_FILES =
  /^(tokenizer.*|chat_template.*|generation_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.\w+|merges\.txt|LICEN[CS]E.*|NOTICE.*)$/
const COPIED_BYTES_MAX = 256 << 20

/** Returns the record of a whole conversion. Throws CheckpointError (the source), OutputRefused, or a file system's error. */
export async function convertCheckpoint(
  { sourceDir, outDir, mix, shardBytesMax, threadCount }: ConversionRequest,
  onProgress: (progress: ConversionProgress) => void,
): Promise<ConversionRecord> {
  const config = await readPlainConfig(sourceDir)
  const source = await openCheckpoint(sourceDir)
  try {
    // What is missing or misshapen is found before the hours, not after.
    layoutModel(source.config, source.tensors, null)
    const plan = planConversion(source.config, source.tensors, mix, shardBytesMax)
    const identity = { version: 1, source: source.digest, ...mix, shardBytes: shardBytesMax } as const
    const unlock = await lockFolder(outDir)
    try {
      const record = { ...(await openRecord(outDir, identity)), isWhole: false }
      await writeRecord(outDir, record)
      const wholeRecord = await writeShards(source, plan, record, outDir, threadCount, onProgress)
      await copySmallFiles(sourceDir, outDir)
      if (plan.shards.length > 1) await writeWhole(join(outDir, INDEX_FILE), indexOf(plan))
      await writeWhole(join(outDir, CONFIG_FILE), withQuantization(config, plan.quantizationConfig))
      const summary = summarize(wholeRecord.wholeShards.flatMap(({ modules }) => modules))
      const finished = { ...wholeRecord, isWhole: true, summary }
      await writeRecord(outDir, finished)
      return finished
    } finally {
      unlock()
    }
  } finally {
    await source.close()
  }
}

/** config.json as text. Throws when it says that the source is quantised. */
async function readPlainConfig(dir: string): Promise<string> {
  const bytes = await readInside(dir, CONFIG_FILE, MODEL_CONFIG_BYTES_MAX)
  if (bytes === null) throw new CheckpointError(CONFIG_FILE, `there is no such file in ${dir}`)
  const json = parseStrictJson(CONFIG_FILE, bytes)
  for (const field of ['quantization_config', 'compression_config']) {
    const value: unknown = typeof json === 'object' && json !== null ? Reflect.get(json, field) : undefined
    if (value === undefined || value === null) continue
    const method: unknown = typeof value === 'object' && 'quant_method' in value ? value.quant_method : field
    throw new CheckpointError(CONFIG_FILE, `it is quantised already (${quote(method)}): convert the original instead`)
  }
  return decodeUtf8(CONFIG_FILE, bytes)
}

async function writeShards(
  source: Checkpoint,
  plan: ConversionPlan,
  record: ConversionRecord,
  outDir: string,
  threadCount: number,
  onProgress: (progress: ConversionProgress) => void,
): Promise<ConversionRecord> {
  const before = await wholeShards(outDir, plan, record)
  const left = plan.shards.filter(({ file }) => !before.some((shard) => shard.file === file))
  await checkSpace(outDir, left)
  const bytesTotal = plan.shards.reduce((sum, shard) => sum + shard.sourceBytes, 0)
  let bytesDone = bytesTotal - left.reduce((sum, shard) => sum + shard.sourceBytes, 0)
  const byFile = new Map(before.map((shard) => [shard.file, shard]))
  const inOrder = (): ConversionRecord => ({
    ...record,
    wholeShards: plan.shards.flatMap(({ file }) => byFile.get(file) ?? []),
  })
  const pool = new QuantizerPool(threadCount)
  try {
    for (const shard of left) {
      const onBytes = (bytes: number): void => {
        bytesDone += bytes
        onProgress({ bytesDone, bytesTotal, bytesNow: bytes, file: shard.file })
      }
      byFile.set(shard.file, {
        file: shard.file,
        modules: await writeShard(source, shard, { dir: outDir, pool, onBytes }),
      })
      await writeRecord(outDir, inOrder())
    }
  } finally {
    await pool.close()
  }
  return inOrder()
}

/** Shards that the record names and that lie there with their size. */
async function wholeShards(
  dir: string,
  plan: ConversionPlan,
  record: ConversionRecord,
): Promise<ConversionRecord['wholeShards']> {
  const whole = []
  for (const shard of plan.shards) {
    const recorded = record.wholeShards.find(({ file }) => file === shard.file)
    const there = await stat(join(dir, shard.file)).catch(() => null)
    if (recorded !== undefined && there?.isFile() === true && there.size === fileBytes(shard)) whole.push(recorded)
  }
  return whole
}

function fileBytes({ file, steps }: ShardPlan): number {
  return layoutSafetensors(file, steps.flatMap(outputTensors), { format: 'pt' }).byteLength
}

/** A disk too small is found before the hours, not after. */
async function checkSpace(dir: string, left: readonly ShardPlan[]): Promise<void> {
  const needed = left.reduce((sum, shard) => sum + fileBytes(shard), 0)
  const partial = (await readdir(dir)).filter((name) => name.endsWith(PARTIAL))
  for (const name of partial) await rm(join(dir, name))
  const { bavail, bsize } = await statfs(dir)
  const free = bavail * bsize
  if (free < needed) throw new Error(`Cannot write to ${dir}: need ${needed} bytes, the disk has ${free} free`)
}

async function copySmallFiles(sourceDir: string, outDir: string): Promise<void> {
  for (const entry of await readdir(sourceDir)) {
    const name = basename(entry)
    if (!COPIED_FILES.test(name) || name.endsWith('.safetensors')) continue
    if (!(await stat(join(sourceDir, name))).isFile()) continue
    const bytes = await readInside(sourceDir, name, COPIED_BYTES_MAX)
    if (bytes !== null) await writeWhole(join(outDir, name), bytes)
  }
}

function indexOf({ shards }: ConversionPlan): string {
  const weightMap = shards.flatMap(({ file, steps }) => steps.flatMap(outputTensors).map(({ name }) => [name, file]))
  const totalBytes = shards.reduce((sum, { dataBytes }) => sum + dataBytes, 0)
  const index = { metadata: { total_size: totalBytes }, weight_map: Object.fromEntries(weightMap) as unknown }
  return `${JSON.stringify(index, null, 2)}\n`
}

/** The config's own text, so that no number is spelled anew, with one field more. */
function withQuantization(config: string, quantization: Readonly<Record<string, unknown>>): string {
  const without = config.replace(/,?\s*"(quantization|compression)_config"\s*:\s*null/g, '').replace(/\{\s*,/, '{')
  const end = without.lastIndexOf('}')
  const field = JSON.stringify(quantization, null, 2).replaceAll('\n', '\n  ')
  const text = `${without.slice(0, end).trimEnd()},\n  "quantization_config": ${field}\n}\n`
  parseStrictJson(CONFIG_FILE, new TextEncoder().encode(text))
  return text
}
