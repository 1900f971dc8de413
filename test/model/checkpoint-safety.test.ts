/**
 * The safety list of a checkpoint folder, item by item: each is refused, by the name of the file, with one error class.
 *
 * Sizes are tebibytes in sparse files: whoever allocated what a header claims, before judging it, would fail otherwise.
 */
import { copyFile, mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { openInside } from '../../gpu-worker/model/checkpoint-folder.ts'
import { openCheckpoint } from '../../gpu-worker/model/checkpoint.ts'

const golden = join(import.meta.dirname, '../goldens/yarn-fused-bf16')
const weights = 'model.safetensors'
const index = 'model.safetensors.index.json'
const TEBIBYTE = 2 ** 40

let root = ''
let dir = ''
let count = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'axle-safety-'))
})
beforeEach(async () => {
  dir = join(root, `folder-${(count += 1)}`)
  await mkdir(dir)
  await copyFile(join(golden, 'config.json'), join(dir, 'config.json'))
})
afterAll(() => rm(root, { recursive: true }))

const u8 = (size: number, begin: number, end = begin + size): string =>
  JSON.stringify({ dtype: 'U8', shape: [size], data_offsets: [begin, end] })

/** A file of a header and `dataBytes` of data that take no disk; `claimedBytes` stands where the header's length does. */
async function sparse(name: string, header: string, dataBytes: number, claimedBytes?: bigint): Promise<void> {
  const json = new TextEncoder().encode(header)
  const start = new Uint8Array(8 + json.length)
  new DataView(start.buffer).setBigUint64(0, claimedBytes ?? BigInt(json.length), true)
  start.set(json, 8)
  await writeFile(join(dir, name), start)
  await truncate(join(dir, name), start.length + dataBytes)
}

interface Item {
  readonly name: string
  readonly file: string
  readonly says: string
  readonly make: () => Promise<void>
}

const items: readonly Item[] = [
  {
    name: 'a header length beyond the file',
    file: weights,
    says: 'the header claims 99000000 bytes, the file has 2',
    make: () => sparse(weights, '{}', 0, 99_000_000n),
  },
  {
    name: 'a header length that no header has',
    file: weights,
    says: 'at most 100000000 bytes, got 1099511627776',
    make: () => sparse(weights, '{}', 2 * TEBIBYTE, BigInt(TEBIBYTE)),
  },
  {
    name: 'overlapping offsets',
    file: weights,
    says: '"b": it overlaps',
    make: () => sparse(weights, `{"a":${u8(TEBIBYTE, 0)},"b":${u8(TEBIBYTE, TEBIBYTE - 1)}}`, 2 * TEBIBYTE),
  },
  {
    name: 'hole-leaving offsets',
    file: weights,
    says: '"b": a hole before it',
    make: () => sparse(weights, `{"a":${u8(TEBIBYTE, 0)},"b":${u8(TEBIBYTE, TEBIBYTE + 1)}}`, 2 * TEBIBYTE + 1),
  },
  {
    name: 'shape × type ≠ size',
    file: weights,
    says: 'takes 1099511627776 bytes, data_offsets hold 4',
    make: () => sparse(weights, `{"a":${u8(TEBIBYTE, 0, 4)}}`, 4),
  },
  {
    name: 'a shape whose product is no number',
    file: weights,
    says: '"a": shape [9007199254740991,9007199254740991]',
    make: () =>
      sparse(weights, '{"a":{"dtype":"F32","shape":[9007199254740991,9007199254740991],"data_offsets":[0,4]}}', 4),
  },
  {
    name: 'duplicate names',
    file: weights,
    says: '"a" stands twice',
    make: () => sparse(weights, `{"a":${u8(TEBIBYTE, 0)},"\\u0061":${u8(TEBIBYTE, TEBIBYTE)}}`, 2 * TEBIBYTE),
  },
  {
    name: 'the name __proto__ of a tensor',
    file: weights,
    says: '"__proto__": the name is not allowed',
    make: () => sparse(weights, `{"__proto__":${u8(TEBIBYTE, 0)}}`, TEBIBYTE),
  },
  {
    name: 'the name __proto__ in an index',
    file: index,
    says: '"__proto__": expected a .safetensors file',
    make: () => writeFile(join(dir, index), '{"weight_map":{"__proto__":{"a":"b"}}}'),
  },
  {
    name: 'the name __proto__ in the config',
    file: 'config.json',
    says: 'unknown field "__proto__"',
    make: async () => {
      await rm(join(dir, 'config.json'))
      await writeFile(join(dir, 'config.json'), '{"__proto__":{"vocab_size":1}}')
    },
  },
  {
    name: 'truncated data',
    file: weights,
    says: `"a": it ends at byte ${TEBIBYTE}, the data at ${TEBIBYTE - 1}`,
    make: () => sparse(weights, `{"a":${u8(TEBIBYTE, 0)}}`, TEBIBYTE - 1),
  },
  {
    name: 'data after the last tensor',
    file: weights,
    says: 'belong to none',
    make: () => sparse(weights, `{"a":${u8(4, 0)}}`, TEBIBYTE),
  },
  {
    name: 'a symlink out of the folder',
    file: weights,
    says: 'a link out of the checkpoint folder',
    make: () => symlink(join(golden, weights), join(dir, weights)),
  },
  {
    name: 'a symlink to a device',
    file: weights,
    says: 'a link out of the checkpoint folder',
    make: () => symlink('/dev/zero', join(dir, weights)),
  },
  {
    name: 'a symlink to itself',
    file: weights,
    says: 'it cannot be read (ELOOP)',
    make: () => symlink(weights, join(dir, weights)),
  },
  {
    name: 'an index that names a missing shard',
    file: 'model-00001-of-00002.safetensors',
    says: 'there is no such file',
    make: () => writeFile(join(dir, index), '{"weight_map":{"a":"model-00001-of-00002.safetensors"}}'),
  },
  {
    name: 'an index that names a shard no file can be called',
    file: `${'x'.repeat(300)}.safetensors`,
    says: 'it cannot be read (ENAMETOOLONG)',
    make: () => writeFile(join(dir, index), `{"weight_map":{"a":"${'x'.repeat(300)}.safetensors"}}`),
  },
]

describe('a checkpoint folder with', () => {
  it.each(items)('$name is refused by name, before anything of that size is allocated', async (item) => {
    await item.make()
    const refusal: unknown = await openCheckpoint(dir).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(CheckpointError)
    expect(refusal).toMatchObject({ file: item.file, message: expect.stringContaining(item.says) })
  })

  it('nothing broken opens', async () => {
    await copyFile(join(golden, weights), join(dir, weights))
    const checkpoint = await openCheckpoint(dir)
    expect(checkpoint.tensors.size).toBe(64)
    await checkpoint.close()
  })
})

describe('a snapshot of the Hugging Face cache', () => {
  const commit = 'a'.repeat(40)
  const hash = '0123456789abcdef'.repeat(4)
  let repository = ''
  let snapshot = ''
  beforeEach(async () => {
    repository = join(dir, 'models--skt--A.X-K1')
    snapshot = join(repository, 'snapshots', commit)
    await mkdir(snapshot, { recursive: true })
    await mkdir(join(repository, 'blobs'))
    await writeFile(join(repository, 'blobs', hash), 'blob')
  })

  it("is read: its files are links to its repository's blobs", async () => {
    expect(await read(snapshot, `../../blobs/${hash}`)).toBe('blob')
    await symlink(snapshot, join(dir, 'shortcut'))
    expect(await read(join(dir, 'shortcut'), `../../blobs/${hash}`)).toBe('blob')
  })

  it('is no way to anywhere else', async () => {
    const elsewhere = join(dir, 'models--other--model')
    await mkdir(join(elsewhere, 'blobs'), { recursive: true })
    await writeFile(join(elsewhere, 'blobs', hash), 'other')
    await writeFile(join(repository, 'blobs', 'secret.txt'), 'no hash')
    await mkdir(join(repository, 'blobs', 'deeper'))
    await writeFile(join(repository, 'blobs', 'deeper', hash), 'deeper')
    await writeFile(join(repository, 'refs'), 'refs')
    const main = join(repository, 'snapshots', 'main')
    await mkdir(main)
    const plain = join(dir, 'plain', 'snapshots', commit)
    await mkdir(plain, { recursive: true })
    await mkdir(join(dir, 'plain', 'blobs'))
    await writeFile(join(dir, 'plain', 'blobs', hash), 'plain')
    const ways: [folder: string, target: string][] = [
      [snapshot, `../../../models--other--model/blobs/${hash}`],
      [snapshot, '../../blobs/secret.txt'],
      [snapshot, `../../blobs/deeper/${hash}`],
      [snapshot, '../../refs'],
      [snapshot, '/etc/passwd'],
      [main, `../../blobs/${hash}`],
      [plain, `../../blobs/${hash}`],
    ]
    for (const [folder, target] of ways) {
      expect(await read(folder, target), `a link to ${target}`).toContain('a link out of the checkpoint folder')
    }
    // A blob that is itself a link leads out as any other.
    await rename(join(repository, 'blobs', hash), join(repository, 'kept'))
    await symlink('/etc/passwd', join(repository, 'blobs', hash))
    expect(await read(snapshot, `../../blobs/${hash}`)).toContain('a link out of the checkpoint folder')
  })
})

/** The text behind config.json in `folder`, linked to `target`; or why there is none. */
async function read(folder: string, target: string): Promise<string> {
  await rm(join(folder, 'config.json'), { force: true })
  await symlink(target, join(folder, 'config.json'))
  try {
    const file = await openInside(folder, 'config.json')
    if (file === null) return 'missing'
    const text = await file.handle.readFile('utf8')
    await file.handle.close()
    return text
  } catch (error) {
    if (error instanceof CheckpointError) return error.message
    throw error
  }
}
