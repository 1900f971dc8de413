/**
 * `conversion-report.json` in the folder that a conversion fills: what is being made of what, which shards are whole, what
 * error each module got, and at the end what that does to the logits. A second run reads it to go on where the first stopped.
 *
 * It knows no tensor's bytes; shards are whole once they are named here and lie there with their size.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { readInside } from '../../gpu-worker/model/checkpoint-folder.ts'
import { parseStrictJson } from '../../gpu-worker/model/strict-json.ts'
import { PARTIAL, writeWhole } from './shard-file.ts'

export const RECORD_FILE = 'conversion-report.json'
/** A.X K1 has 35,000 modules of 150 bytes. */
const RECORD_BYTES_MAX = 64 << 20

const moduleError = z.object({ module: z.string(), errorSquares: z.number(), valueSquares: z.number() })

const logitError = z.object({
  prompts: z.string(),
  promptCount: z.int(),
  positionCount: z.int(),
  /** Σ (a − b)² / Σ b² over all logits; by position, the middle one and the worst, where routing may differ. */
  nmse: z.number(),
  medianNmse: z.number(),
  worstNmse: z.number(),
  /** Share of positions whose highest logit is the same token's. */
  topAgreement: z.number(),
})

const recordFields = z.object({
  /** What must be equal for a second run to go on. */
  conversion: z.object({
    /** Raised when the same source would give other bytes. */
    version: z.literal(1),
    /** The checkpoint's digest. */
    source: z.string(),
    experts: z.enum(['int4', 'int8']),
    rest: z.enum(['bf16', 'int8']),
    group: z.int(),
    shardBytes: z.int(),
  }),
  /** Everything is in the folder. */
  isWhole: z.boolean(),
  wholeShards: z.array(z.object({ file: z.string(), modules: z.array(moduleError) })),
  logits: logitError.nullable(),
  /** For people: computed from the modules. */
  summary: z.unknown().optional(),
})

export type LogitError = z.infer<typeof logitError>
export type ConversionRecord = z.infer<typeof recordFields>
export type ConversionIdentity = ConversionRecord['conversion']

/** The folder is not ours to write in. */
export class OutputRefused extends Error {
  override readonly name = 'OutputRefused'
}

/** The record in `dir`, or a new one when the folder is empty. Throws OutputRefused. */
export async function openRecord(dir: string, identity: ConversionIdentity): Promise<ConversionRecord> {
  const entries = await readdir(dir)
  if (!entries.includes(RECORD_FILE)) {
    const foreign = entries.find((name) => name !== RECORD_FILE + PARTIAL)
    if (foreign !== undefined) throw refuse(dir, `it is not empty, nor an unfinished conversion: it has ${foreign}`)
    return { conversion: identity, isWhole: false, wholeShards: [], logits: null }
  }
  const bytes = await readInside(dir, RECORD_FILE, RECORD_BYTES_MAX)
  const parsed = recordFields.safeParse(parseStrictJson(RECORD_FILE, bytes ?? new Uint8Array(0)))
  if (!parsed.success) throw refuse(dir, `${RECORD_FILE} is not of this version's making`)
  const [there, wanted] = [parsed.data.conversion, identity].map(describe)
  if (there !== wanted) throw refuse(dir, `it holds ${there}, not ${wanted}`)
  return parsed.data
}

export async function writeRecord(dir: string, record: ConversionRecord): Promise<void> {
  await writeWhole(join(dir, RECORD_FILE), `${JSON.stringify(record, null, 1)}\n`)
}

function describe({ source, experts, rest, group, shardBytes }: ConversionIdentity): string {
  const mix = `--experts ${experts} --rest ${rest} --group ${group}`
  return `a conversion of ${source.slice(0, 12)} with ${mix} --shard-bytes ${shardBytes}`
}

function refuse(dir: string, problem: string): OutputRefused {
  return new OutputRefused(`Cannot write to ${dir}: ${problem}; choose another folder, or remove it`)
}
