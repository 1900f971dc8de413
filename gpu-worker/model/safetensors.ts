/**
 * The safetensors format: u64 header length (little endian), JSON header, then the tensors' bytes back to back.
 *
 *     0        8            8+N                                      file end
 *     │ N: u64 │ {"name": {dtype, shape, data_offsets: [b, e]}, …} │ data │
 *
 * Reading trusts nothing: every rule of the reference reader is checked before a tensor is named, and no allocation is
 * larger than what the file really holds. Values are not looked at (NaN is a value). It does not know what tensors mean.
 */
import { open } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { CheckpointError, quote } from './checkpoint-error.ts'
import { openInside, readInto, readRange, type OpenFile } from './checkpoint-folder.ts'
import { parseStrictJson } from './strict-json.ts'

/** Bytes of one element of each type we can hold, by the format's own spelling. */
const STORED_TYPES = {
  F64: ['f64', 8],
  F32: ['f32', 4],
  F16: ['f16', 2],
  BF16: ['bf16', 2],
  F8_E4M3: ['f8_e4m3', 1],
  F8_E5M2: ['f8_e5m2', 1],
  I64: ['i64', 8],
  I32: ['i32', 4],
  I16: ['i16', 2],
  I8: ['i8', 1],
  U64: ['u64', 8],
  U32: ['u32', 4],
  U16: ['u16', 2],
  U8: ['u8', 1],
  BOOL: ['bool', 1],
} as const

type Spelling = keyof typeof STORED_TYPES
export type StoredType = (typeof STORED_TYPES)[Spelling][0]

const SPELLINGS = new Map<StoredType, Spelling>()
const ELEMENT_BYTES = new Map<StoredType, number>()
const TYPES = new Map<string, StoredType>()
for (const [spelling, [type, bytes]] of Object.entries(STORED_TYPES)) {
  SPELLINGS.set(type, spelling as Spelling) // Object.entries forgets the key type
  ELEMENT_BYTES.set(type, bytes)
  TYPES.set(spelling, type)
}

/** The reference reader's bound. */
const HEADER_BYTES_MAX = 100_000_000
/** No weight has more; keeps a header from making us multiply millions of numbers. */
const RANK_MAX = 16
const METADATA_KEY = '__metadata__'

export interface TensorInfo {
  readonly name: string
  readonly type: StoredType
  /** Slowest axis first. */
  readonly shape: readonly number[]
  readonly byteLength: number
}

export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: ReadonlyMap<string, string>
  /** Bytes [byteStart, byteEnd) of one tensor as stored, in a buffer of their own; the whole tensor by default. */
  read(name: string, byteStart?: number, byteEnd?: number): Promise<Uint8Array<ArrayBuffer>>
  /** Fills `target` with the tensor's bytes from `byteStart` on: for a reader of gigabytes that keeps its buffers. */
  readInto(name: string, byteStart: number, target: Uint8Array<ArrayBuffer>): Promise<void>
  /** Waits for reads under way. */
  close(): Promise<void>
}

interface Placed {
  readonly info: TensorInfo
  /** Of the data section. */
  readonly begin: number
}

/** Opens a file and reads its header; data are read on demand. Throws CheckpointError. The caller closes. */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  return readSafetensorsInside(dirname(path), basename(path))
}

/** The same for a file that must lie in `dir`; `whence` tells who looks for it. */
export async function readSafetensorsInside(dir: string, name: string, whence = ''): Promise<SafetensorsFile> {
  const file = await openInside(dir, name)
  if (file === null) throw new CheckpointError(name, `there is no such file${whence}`)
  try {
    return await readHeader(name, file)
  } catch (error) {
    await file.handle.close()
    throw error
  }
}

async function readHeader(name: string, file: OpenFile): Promise<SafetensorsFile> {
  const { handle, byteLength } = file
  if (byteLength < 8) throw new CheckpointError(name, `expected at least 8 bytes, got ${byteLength}`)
  const prefix = await readRange(name, handle, 0, 8)
  const headerBytes = new DataView(prefix.buffer).getBigUint64(0, true)
  if (headerBytes > BigInt(HEADER_BYTES_MAX)) {
    throw new CheckpointError(name, `expected a header of at most ${HEADER_BYTES_MAX} bytes, got ${headerBytes}`)
  }
  const dataStart = 8 + Number(headerBytes)
  if (dataStart > byteLength) {
    throw new CheckpointError(
      name,
      `the header claims ${headerBytes} bytes, the file has ${byteLength - 8} after its length`,
    )
  }
  const header = await readRange(name, handle, 8, dataStart)
  const { placed, metadata } = parseHeader(name, header, byteLength - dataStart)
  /** Where bytes [byteStart, byteEnd) of a tensor lie in the file. */
  const placeOf = (tensor: string, byteStart: number, byteEnd?: number): { start: number; end: number } => {
    const found = placed.get(tensor)
    if (!found) throw new CheckpointError(name, `there is no tensor ${quote(tensor)}`)
    const end = byteEnd ?? found.info.byteLength
    if (!(Number.isSafeInteger(byteStart) && 0 <= byteStart && byteStart <= end && end <= found.info.byteLength)) {
      const { byteLength: length } = found.info
      throw new RangeError(`Cannot read bytes ${byteStart} … ${end} of ${quote(tensor)}: it has ${length}`)
    }
    return { start: dataStart + found.begin + byteStart, end: dataStart + found.begin + end }
  }
  return {
    tensors: new Map([...placed].map(([tensor, { info }]) => [tensor, info])),
    metadata,
    read: (tensor, byteStart = 0, byteEnd) => {
      const { start, end } = placeOf(tensor, byteStart, byteEnd)
      return readRange(name, handle, start, end)
    },
    readInto: (tensor, byteStart, target) => {
      const { start } = placeOf(tensor, byteStart, byteStart + target.length)
      return readInto(name, handle, start, target)
    },
    close: () => handle.close(),
  }
}

/** Checks a header against the length of the data that follow it. */
export function parseHeader(
  name: string,
  header: Uint8Array,
  dataBytes: number,
): { placed: ReadonlyMap<string, Placed>; metadata: ReadonlyMap<string, string> } {
  if (header[0] !== 0x7b) throw new CheckpointError(name, 'expected the header to start with {')
  const json = parseStrictJson(name, header)
  if (!isRecord(json)) throw new CheckpointError(name, 'expected the header to be an object')
  const metadata = new Map<string, string>()
  const tensors: Placed[] = []
  for (const [key, value] of Object.entries(json)) {
    if (key === METADATA_KEY) {
      if (!isRecord(value)) throw new CheckpointError(name, `expected ${METADATA_KEY} to be an object`)
      for (const [entry, text] of Object.entries(value)) {
        if (typeof text !== 'string')
          throw new CheckpointError(name, `expected ${METADATA_KEY} ${quote(entry)} to be text`)
        metadata.set(entry, text)
      }
    } else {
      tensors.push(parseTensor(name, key, value))
    }
  }
  checkLayout(name, tensors, dataBytes)
  return { placed: new Map(tensors.map((tensor) => [tensor.info.name, tensor])), metadata }
}

function parseTensor(file: string, name: string, value: unknown): Placed {
  const refuse = (problem: string): never => {
    throw new CheckpointError(file, `tensor ${quote(name)}: ${problem}`)
  }
  if (name === '__proto__' || !name.isWellFormed()) return refuse('the name is not allowed')
  if (!isRecord(value)) return refuse('expected an object')
  const { dtype, shape, data_offsets: offsets, ...rest } = value
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) return refuse(`unknown field ${quote(unknown)}`)
  const type = typeof dtype === 'string' ? TYPES.get(dtype) : undefined
  if (type === undefined) return refuse(`unknown type ${quote(dtype)}`)
  if (!isSizes(shape) || shape.length > RANK_MAX) return refuse(`expected a shape, got ${quote(shape)}`)
  if (!isSizes(offsets) || offsets.length !== 2)
    return refuse(`expected data_offsets [begin, end], got ${quote(offsets)}`)
  const [begin = 0, end = 0] = offsets
  const elements = shape.reduce((product, size) => product * BigInt(size), 1n)
  const expected = elements * BigInt(ELEMENT_BYTES.get(type) ?? 0)
  if (end < begin || BigInt(end - begin) !== expected) {
    return refuse(`shape ${quote(shape)} of ${type} takes ${expected} bytes, data_offsets hold ${end - begin}`)
  }
  return { info: { name, type, shape, byteLength: end - begin }, begin }
}

/** The tensors cover the data exactly: from 0, no hole, no overlap, to the end. An empty tensor may share an offset. */
function checkLayout(file: string, tensors: readonly Placed[], dataBytes: number): void {
  const inOrder = tensors.toSorted((a, b) => a.begin - b.begin || a.info.byteLength - b.info.byteLength)
  let expected = 0
  for (const { info, begin } of inOrder) {
    if (begin !== expected) {
      const problem = begin > expected ? 'a hole before it' : 'it overlaps another tensor'
      throw new CheckpointError(
        file,
        `tensor ${quote(info.name)}: ${problem} (expected offset ${expected}, got ${begin})`,
      )
    }
    expected = begin + info.byteLength
    if (expected > dataBytes) {
      throw new CheckpointError(
        file,
        `tensor ${quote(info.name)}: it ends at byte ${expected}, the data at ${dataBytes}`,
      )
    }
  }
  if (expected !== dataBytes) {
    throw new CheckpointError(file, `${dataBytes - expected} bytes after the last tensor belong to none`)
  }
}

export interface TensorData {
  readonly name: string
  readonly type: StoredType
  readonly shape: readonly number[]
  /** Little endian, as stored. */
  readonly data: Uint8Array
}

/** Where a file of some tensors has each of them. */
export interface SafetensorsLayout {
  /** Length prefix and JSON, padded to 8 bytes: the file's start. */
  readonly header: Uint8Array<ArrayBuffer>
  /** Tensor → its first byte, counted from the file's start; in the order of the file. */
  readonly offsets: ReadonlyMap<string, number>
  /** Of the whole file. */
  readonly byteLength: number
}

/** Lays out a file: wide types first, so that every tensor is aligned to its element; then by name. Throws CheckpointError. */
export function layoutSafetensors(
  file: string,
  tensors: readonly TensorInfo[],
  metadata: Readonly<Record<string, string>> = {},
): SafetensorsLayout {
  const width = (tensor: TensorInfo): number => ELEMENT_BYTES.get(tensor.type) ?? 0
  const inOrder = tensors.toSorted((a, b) => width(b) - width(a) || (a.name < b.name ? -1 : 1))
  const entries = new Map<string, unknown>()
  if (Object.keys(metadata).length > 0) entries.set(METADATA_KEY, metadata)
  const begins: [name: string, begin: number][] = []
  let end = 0
  for (const { name, type, shape, byteLength } of inOrder) {
    const entry = { dtype: SPELLINGS.get(type), shape, data_offsets: [end, end + byteLength] }
    parseTensor(file, name, entry)
    if (name === METADATA_KEY || entries.has(name)) throw new CheckpointError(file, `tensor ${quote(name)} twice`)
    entries.set(name, entry)
    begins.push([name, end])
    end += byteLength
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)))
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true)
  header.set(json, 8)
  const offsets = new Map(begins.map(([name, begin]) => [name, header.length + begin]))
  return { header, offsets, byteLength: header.length + end }
}

/** Writes a file that fits in memory. Overwrites. */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorData[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const infos = tensors.map(({ name, type, shape, data }) => ({ name, type, shape, byteLength: data.byteLength }))
  const { header, offsets } = layoutSafetensors(basename(path), infos, metadata)
  const data = new Map(tensors.map((tensor) => [tensor.name, tensor.data]))
  const handle = await open(path, 'w')
  try {
    await handle.writeFile(header)
    for (const name of offsets.keys()) await handle.writeFile(data.get(name) ?? new Uint8Array(0))
  } finally {
    await handle.close()
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0)
}
