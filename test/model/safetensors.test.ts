/** The safetensors format: round trips, and a corpus of broken and hostile files. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { parseHeader, readSafetensors, writeSafetensors } from '../../gpu-worker/model/safetensors.ts'

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'axle-safetensors-'))
})
afterAll(() => rm(dir, { recursive: true }))

const utf8 = new TextEncoder()

/** A file of any header text, true length in front unless another is claimed, and some data. */
async function fileOf(header: string, dataBytes: number, claimedBytes?: bigint): Promise<string> {
  const json = utf8.encode(header)
  const bytes = new Uint8Array(8 + json.length + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, claimedBytes ?? BigInt(json.length), true)
  bytes.set(json, 8)
  const path = join(dir, 'any.safetensors')
  await writeFile(path, bytes)
  return path
}

const f32 = (shape: readonly unknown[], begin: number, end: number, dtype = 'F32'): string =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] })

/** Anything else is thrown on. */
function tilesOrRefuses(header: Uint8Array, dataBytes: number): boolean {
  try {
    const { placed } = parseHeader('fuzz', header, dataBytes)
    return [...placed.values()].reduce((sum, { info }) => sum + info.byteLength, 0) === dataBytes
  } catch (error) {
    if (error instanceof CheckpointError) return true
    throw error
  }
}

describe('readSafetensors', () => {
  it('gives back what writeSafetensors wrote: names, types, shapes, bytes, metadata', async () => {
    const path = join(dir, 'round.safetensors')
    const tensors = [
      { name: 'ids.0', type: 'i32', shape: [3], data: new Uint8Array(Int32Array.of(1, -2, 3).buffer) },
      { name: 'odd', type: 'u8', shape: [1, 5], data: Uint8Array.of(1, 2, 3, 4, 5) },
      { name: '한국어 "quoted"', type: 'bf16', shape: [2], data: Uint8Array.of(6, 7, 8, 9) },
      { name: 'empty', type: 'f32', shape: [0, 7], data: new Uint8Array(0) },
      { name: 'scalar', type: 'i64', shape: [], data: new Uint8Array(8) },
    ] as const
    await writeSafetensors(path, tensors, { format: 'pt' })
    const file = await readSafetensors(path)
    expect(file.metadata).toEqual(new Map([['format', 'pt']]))
    expect(file.tensors.size).toBe(tensors.length)
    for (const { name, type, shape, data } of tensors) {
      expect(file.tensors.get(name)).toEqual({ name, type, shape, byteLength: data.length })
      expect(await file.read(name)).toEqual(data)
    }
    expect(await file.read('odd', 1, 3)).toEqual(Uint8Array.of(2, 3))
    await file.close()
  })

  it('reads what the Python library wrote', async () => {
    const file = await readSafetensors('test/goldens/yarn-fused-bf16/expected.safetensors')
    const ids = await file.read('ids.1')
    expect(file.tensors.get('ids.1')).toMatchObject({ type: 'i32', shape: [7] })
    expect([...new Int32Array(ids.buffer)].every((id) => id >= 0 && id < 512)).toBe(true)
    await file.close()
  })

  it('refuses bytes outside a tensor', async () => {
    const file = await readSafetensors(await fileOf(`{"a":${f32([1], 0, 4)}}`, 4))
    expect(() => file.read('a', 0, 5)).toThrow(RangeError)
    expect(() => file.read('a', -1, 4)).toThrow(RangeError)
    expect(() => file.read('a', 3, 2)).toThrow(RangeError)
    expect(() => file.read('b')).toThrow(CheckpointError)
    await file.close()
  })

  it('says so when data vanish under an open file', async () => {
    const path = await fileOf(`{"a":${f32([4], 0, 16)}}`, 16)
    const file = await readSafetensors(path)
    await writeFile(path, (await readFile(path)).subarray(0, -8))
    await expect(file.read('a')).rejects.toThrow(CheckpointError)
    await file.close()
  })

  it.each<[flaw: string, header: string, dataBytes: number, claimed?: bigint]>([
    ['at most', '{}', 0, 2n ** 63n],
    ['the header claims 3 bytes', '{}', 0, 3n],
    ['start with {', '[]', 0],
    ['start with {', ' {}', 0],
    ['start with {', '', 0],
    ['syntax error', '{"a":', 0],
    ['"a" stands twice', `{"a":${f32([1], 0, 4)},"a":${f32([1], 0, 4)}}`, 4],
    ['"a" stands twice', `{"a":${f32([1], 0, 4)},"\\u0061":${f32([1], 4, 8)}}`, 8],
    ['"shape" stands twice', '{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,8]}}', 8],
    ['"__proto__": the name', `{"__proto__":${f32([1], 0, 4)}}`, 4],
    ['"a": expected an object', '{"a":7}', 0],
    ['"a": unknown type "F17"', `{"a":${f32([1], 0, 4, 'F17')}}`, 4],
    ['"a": unknown type "toString"', `{"a":${f32([1], 0, 4, 'toString')}}`, 4],
    ['"a": expected a shape', `{"a":${f32([-1], 0, 4)}}`, 4],
    ['"a": expected a shape', `{"a":${f32([1.5], 0, 4)}}`, 4],
    ['"a": expected a shape', `{"a":${f32(Array<number>(17).fill(1), 0, 4)}}`, 4],
    ['"a": expected a shape', '{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', 4],
    ['"a": shape', `{"a":${f32([2], 0, 4)}}`, 4],
    ['"a": shape', `{"a":${f32([2 ** 31, 2 ** 31, 2 ** 31], 0, 4)}}`, 4],
    ['"a": shape', `{"a":${f32([1], 4, 0)}}`, 4],
    ['"a": expected data_offsets', '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}', 4],
    ['"a": expected data_offsets', '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1e400]}}', 4],
    ['"a": unknown field "extra"', '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":1}}', 4],
    ['"a": a hole before it', `{"a":${f32([1], 4, 8)}}`, 8],
    ['"b": a hole before it', `{"a":${f32([1], 0, 4)},"b":${f32([1], 8, 12)}}`, 12],
    ['"b": it overlaps', `{"a":${f32([2], 0, 8)},"b":${f32([1], 4, 8)}}`, 8],
    ['"b": it overlaps', `{"a":${f32([1], 0, 4)},"b":${f32([1], 0, 4)}}`, 4],
    ['"a": it ends at byte 4', `{"a":${f32([1], 0, 4)}}`, 3],
    ['belong to none', `{"a":${f32([1], 0, 4)}}`, 5],
    ['__metadata__', '{"__metadata__":{"a":1}}', 0],
    ['__metadata__', '{"__metadata__":[]}', 0],
  ])('refuses by name: %s', async (flaw, header, dataBytes, claimed) => {
    const opening = readSafetensors(await fileOf(header, dataBytes, claimed))
    await expect(opening).rejects.toThrow(CheckpointError)
    await expect(opening).rejects.toThrow(flaw)
  })

  it('refuses a file too short for a length, and one that is not there', async () => {
    const path = join(dir, 'short.safetensors')
    await writeFile(path, Uint8Array.of(1, 2, 3))
    await expect(readSafetensors(path)).rejects.toThrow('at least 8 bytes')
    await expect(readSafetensors(join(dir, 'none'))).rejects.toThrow('no such file')
  })

  it('lets an empty tensor share an offset', async () => {
    const header = `{"b":${f32([1], 0, 4)},"a":${f32([0], 0, 0)},"c":${f32([0], 4, 4)}}`
    const file = await readSafetensors(await fileOf(header, 4))
    expect([...file.tensors.keys()].toSorted()).toEqual(['a', 'b', 'c'])
    await file.close()
  })
})

describe('parseHeader', () => {
  it('of any bytes, accepts only tensors that tile the data, else throws CheckpointError: 1,000 mutated headers', () => {
    const valid = `{"__metadata__":{"format":"pt"},"a":${f32([2, 3], 0, 24)},"b":${f32([5], 24, 34, 'BF16')}}`
    const edit = fc.record({
      at: fc.nat({ max: valid.length - 1 }),
      removed: fc.nat({ max: 4 }),
      added: fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('9', '0', '-', '"', '{', '1e9', '[[[[', '\\u0061')),
    })
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), fc.nat({ max: 80 }), (edits, dataBytes) => {
        const header = edits.reduce(
          (text, { at, removed, added }) => text.slice(0, at) + added + text.slice(at + removed),
          valid,
        )
        expect(tilesOrRefuses(utf8.encode(header), dataBytes)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it('accepts the header that the fuzzer mutates', () => {
    const valid = `{"a":${f32([2, 3], 0, 24)},"b":${f32([5], 24, 34, 'BF16')}}`
    expect(parseHeader('whole', utf8.encode(valid), 34).placed.size).toBe(2)
  })
})
