/**
 * A checkpoint folder: its config, its tensors by name — one safetensors file or shards with an index — and its digest.
 *
 * It does not know which tensors the model wants, nor what a GPU is: bytes come out as stored, on demand, in any range.
 */
import { createHash } from 'node:crypto'
import { CheckpointError, quote } from './checkpoint-error.ts'
import { openInside, readInside } from './checkpoint-folder.ts'
import { parseModelConfig, type ModelConfig } from './config.ts'
import { parseQuantization, type Quantization } from './quantization.ts'
import { readSafetensorsInside, type SafetensorsFile, type TensorInfo } from './safetensors.ts'
import { parseStrictJson } from './strict-json.ts'

export type { StoredType, TensorInfo } from './safetensors.ts'

export interface Checkpoint {
  readonly dir: string
  readonly config: ModelConfig
  /** What config.json says of quantised weights; null: nothing. */
  readonly quantization: Quantization | null
  /** Lower-case hex SHA-256 that identifies config and weights: see `digestOf`. */
  readonly digest: string
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** Bytes [byteStart, byteEnd) of one tensor as stored, in a buffer of their own (offset 0). */
  read(name: string, byteStart?: number, byteEnd?: number): Promise<Uint8Array<ArrayBuffer>>
  /** Fills `target` with a tensor's bytes from `byteStart` on: for a reader of gigabytes that keeps its buffers. */
  readInto(name: string, byteStart: number, target: Uint8Array<ArrayBuffer>): Promise<void>
  close(): Promise<void>
}

const SINGLE_FILE = 'model.safetensors'
const INDEX_FILE = 'model.safetensors.index.json'
/** Of the small files beside config.json. */
export const CONFIG_BYTES_MAX = 1 << 20
/** Of config.json: a quantization_config that names every expert of A.X K1 takes 2 MB. */
export const MODEL_CONFIG_BYTES_MAX = 8 << 20
/** A per-expert A.X K1 index has 35,416 names, about 3 MB. */
const INDEX_BYTES_MAX = 64 << 20
/** A.X K1 had 260 shards; every one stays open. */
const SHARDS_MAX = 4096

/** A checkpoint that nobody asked for its identity: nothing but config and headers was read. */
export interface StoredModel extends Omit<Checkpoint, 'digest'> {
  /** The .safetensors files, by name. */
  readonly files: readonly string[]
}

/** Opens a folder, reads every header, and what the digest needs of the weights. Throws CheckpointError. The caller closes. */
export async function openCheckpoint(dir: string): Promise<Checkpoint> {
  const { model, configBytes } = await openFolder(dir)
  try {
    return { ...model, digest: await digestOf(configBytes, model.tensors, model.readInto) }
  } catch (error) {
    await model.close()
    throw error
  }
}

/** Opens a folder and reads every header. Throws CheckpointError. The caller closes. */
export async function openStoredModel(dir: string): Promise<StoredModel> {
  return (await openFolder(dir)).model
}

async function openFolder(dir: string): Promise<{ readonly model: StoredModel; readonly configBytes: Uint8Array }> {
  const configBytes = await readInside(dir, 'config.json', MODEL_CONFIG_BYTES_MAX)
  if (configBytes === null) throw new CheckpointError('config.json', `there is no such file in ${dir}`)
  const json = parseStrictJson('config.json', configBytes)
  const config = parseModelConfig(json)
  const quantization = parseQuantization(json)
  const shards = new Map<string, SafetensorsFile>()
  const close = async (): Promise<void> => {
    await Promise.all([...shards.values()].map((shard) => shard.close()))
  }
  try {
    const weightMap = await readWeightMap(dir)
    const files = weightMap ? [...new Set(weightMap.values())] : [SINGLE_FILE]
    const whence = weightMap ? `, which ${INDEX_FILE} names` : `, nor ${INDEX_FILE}, in ${dir}`
    for (const name of files) shards.set(name, await readSafetensorsInside(dir, name, whence))
    const homes = weightMap ? checkedHomes(weightMap, shards) : singleHomes(shards)
    const tensors = new Map([...homes].map(([name, home]) => [name, infoOf(home, name)]))
    const homeOf = (name: string): SafetensorsFile => {
      const home = homes.get(name)
      if (!home) throw new CheckpointError(dir, `there is no tensor ${quote(name)}`)
      return home
    }
    const read: Checkpoint['read'] = (name, byteStart, byteEnd) => homeOf(name).read(name, byteStart, byteEnd)
    const readInto: Checkpoint['readInto'] = (name, byteStart, target) => homeOf(name).readInto(name, byteStart, target)
    return { model: { dir, config, quantization, files, tensors, read, readInto, close }, configBytes }
  } catch (error) {
    await close()
    throw error
  }
}

/** Tensor → shard, out of the index; null when the folder holds one plain file. */
async function readWeightMap(dir: string): Promise<Map<string, string> | null> {
  const bytes = await readInside(dir, INDEX_FILE, INDEX_BYTES_MAX)
  if (bytes === null) return null
  const single = await openInside(dir, SINGLE_FILE)
  if (single !== null) {
    await single.handle.close()
    throw new CheckpointError(INDEX_FILE, `${SINGLE_FILE} is there too: remove one of them`)
  }
  const index = parseStrictJson(INDEX_FILE, bytes)
  const weightMap = isRecord(index) ? index['weight_map'] : undefined
  if (!isRecord(weightMap)) throw new CheckpointError(INDEX_FILE, 'expected an object with a weight_map')
  const homes = new Map<string, string>()
  for (const [tensor, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string' || !shard.endsWith('.safetensors')) {
      throw new CheckpointError(
        INDEX_FILE,
        `tensor ${quote(tensor)}: expected a .safetensors file, got ${quote(shard)}`,
      )
    }
    homes.set(tensor, shard)
  }
  const shardCount = new Set(homes.values()).size
  if (shardCount > SHARDS_MAX) {
    throw new CheckpointError(INDEX_FILE, `expected at most ${SHARDS_MAX} shards, got ${shardCount}`)
  }
  return homes
}

function singleHomes(shards: ReadonlyMap<string, SafetensorsFile>): Map<string, SafetensorsFile> {
  return new Map(
    [...shards.values()].flatMap((shard) => [...shard.tensors.keys()].map((name) => [name, shard] as const)),
  )
}

/** Index and shards must agree both ways: every name where the index says, and nothing besides. */
function checkedHomes(
  weightMap: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, SafetensorsFile>,
): Map<string, SafetensorsFile> {
  const homes = new Map<string, SafetensorsFile>()
  for (const [shardName, shard] of shards) {
    for (const name of shard.tensors.keys()) {
      const indexed = weightMap.get(name)
      if (indexed !== shardName) {
        throw new CheckpointError(shardName, `it holds tensor ${quote(name)}, the index says ${quote(indexed ?? null)}`)
      }
      homes.set(name, shard)
    }
  }
  for (const [name, shardName] of weightMap) {
    if (!homes.has(name))
      throw new CheckpointError(shardName, `tensor ${quote(name)} is missing, the index names it here`)
  }
  return homes
}

function infoOf(home: SafetensorsFile, name: string): TensorInfo {
  const info = home.tensors.get(name)
  if (!info) throw new CheckpointError(INDEX_FILE, `there is no tensor ${quote(name)}`)
  return info
}

/** Up to this size a checkpoint is hashed whole: 0.15 s. */
const HASHED_WHOLE_BYTES_MAX = 256 << 20
/** Of a larger checkpoint, so many pages of each tensor: A.X K1 fused 0.25 GB, per expert 9 GB, of 1,038. */
const SAMPLED_PAGES = 16
const PAGE_BYTES = 16 << 10
/** Read at a time: a small checkpoint may be one tensor. */
const HASHED_TOGETHER_BYTES = 4 << 20

/**
 * SHA-256 over the bytes of config.json and, for each tensor in name order, {name, type, shape} and its bytes; how the
 * tensors are spread over shards does not enter. A checkpoint over 256 MiB gives 16 evenly spaced pages of each tensor,
 * first and last included, instead of all: any training step, quantisation or wrong shard changes those. It is an
 * identity, not a signature: whoever may write the folder could make two that agree on every sampled page.
 */
async function digestOf(
  configBytes: Uint8Array,
  tensors: ReadonlyMap<string, TensorInfo>,
  readInto: Checkpoint['readInto'],
): Promise<string> {
  const totalBytes = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
  const hash = createHash('sha256').update(`axle-checkpoint-1\0${configBytes.length}\0`).update(configBytes)
  const buffer = new Uint8Array(HASHED_TOGETHER_BYTES)
  const update = async (name: string, byteStart: number, byteEnd: number): Promise<void> => {
    for (let start = byteStart; start < byteEnd; start += buffer.length) {
      const bytes = buffer.subarray(0, Math.min(buffer.length, byteEnd - start))
      await readInto(name, start, bytes)
      hash.update(bytes)
    }
  }
  const inOrder = [...tensors.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  for (const { name, type, shape, byteLength } of inOrder) {
    hash.update(JSON.stringify([name, type, shape, byteLength]))
    const isWhole = totalBytes <= HASHED_WHOLE_BYTES_MAX || byteLength <= SAMPLED_PAGES * PAGE_BYTES
    if (isWhole) {
      await update(name, 0, byteLength)
      continue
    }
    for (let page = 0; page < SAMPLED_PAGES; page++) {
      const start = Math.floor(((byteLength - PAGE_BYTES) / (SAMPLED_PAGES - 1)) * page)
      await update(name, start, start + PAGE_BYTES)
    }
  }
  return hash.digest('hex')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
