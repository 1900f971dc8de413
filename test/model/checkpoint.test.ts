/** Checkpoint folders: what opens, what is refused and why, and what the digest tells apart. */
import { cp, mkdir, mkdtemp, open, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { openCheckpoint } from '../../gpu-worker/model/checkpoint.ts'
import { readSafetensors, writeSafetensors, type TensorData } from '../../gpu-worker/model/safetensors.ts'

const goldens = 'test/goldens'
const sharded = `${goldens}/bias-sharded`
const single = `${goldens}/yarn-fused-bf16`

let root = ''
let count = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'axle-checkpoint-'))
})
afterAll(() => rm(root, { recursive: true }))

async function copyOf(golden: string): Promise<string> {
  const dir = join(root, `copy-${(count += 1)}`)
  await cp(golden, dir, { recursive: true })
  return dir
}

async function digestOf(dir: string): Promise<string> {
  const checkpoint = await openCheckpoint(dir)
  await checkpoint.close()
  return checkpoint.digest
}

async function tensorsOf(path: string): Promise<TensorData[]> {
  const file = await readSafetensors(path)
  const data: TensorData[] = []
  for (const { name, type, shape } of file.tensors.values()) {
    data.push({ name, type, shape, data: await file.read(name) })
  }
  await file.close()
  return data
}

/** Why a folder is refused; anything but a CheckpointError is thrown on. */
async function refusalOf(dir: string): Promise<string> {
  try {
    await (await openCheckpoint(dir)).close()
  } catch (error) {
    if (error instanceof CheckpointError) return error.message
    throw error
  }
  return 'it opened'
}

describe('openCheckpoint', () => {
  it.each([
    ['yarn-fused-bf16', 64, 'bf16'],
    ['per-expert-f32', 202, 'f32'],
    ['bias-sharded', 67, 'bf16'],
    ['odd-shapes-f16', 61, 'f16'],
    ['deepseek-no-q-lora', 52, 'bf16'],
    ['deepseek-v3', 201, 'bf16'],
  ])('opens %s: %i tensors of %s', async (name, tensorCount, type) => {
    const checkpoint = await openCheckpoint(`${goldens}/${name}`)
    const embedding = checkpoint.tensors.get('model.embed_tokens.weight')
    const { vocabSize, hiddenSize } = checkpoint.config
    expect(checkpoint.tensors.size).toBe(tensorCount)
    expect(embedding).toMatchObject({ type, shape: [vocabSize, hiddenSize] })
    for (const { name: tensor, byteLength } of checkpoint.tensors.values()) {
      expect((await checkpoint.read(tensor)).length).toBe(byteLength)
    }
    await checkpoint.close()
  })

  it.each([
    ['fp8-blocks', 'fp8', 'model.layers.1.mlp.experts.3.up_proj', { kind: 'fp8', blockRows: 32, blockColumns: 32 }],
    [
      'int4-experts',
      'compressed-tensors',
      'model.layers.1.mlp.experts.3.up_proj',
      { kind: 'int4', scaleSpan: 32, hasZeroPoints: false },
    ],
    ['int4-experts', 'compressed-tensors', 'model.layers.1.self_attn.o_proj', null],
  ])('reads how %s is quantised by %s: %s', async (name, method, module, scheme) => {
    const checkpoint = await openCheckpoint(`${goldens}/${name}`)
    await checkpoint.close()
    expect(checkpoint.quantization?.method).toBe(method)
    expect(checkpoint.quantization?.schemeOf(module)).toEqual(scheme)
  })

  it('refuses a quantization_config that it does not know', async () => {
    const dir = await copyOf(`${goldens}/fp8-blocks`)
    const config = await readFile(join(dir, 'config.json'), 'utf8')
    await writeFile(join(dir, 'config.json'), config.replace('"quant_method": "fp8"', '"quant_method": "awq"'))
    expect(await refusalOf(dir)).toContain('quantization_config: quant_method: not supported yet: "awq"')
  })

  it('reads any range of a tensor as stored', async () => {
    const checkpoint = await openCheckpoint(sharded)
    const whole = await checkpoint.read('lm_head.weight')
    expect(await checkpoint.read('lm_head.weight', 10, 30)).toEqual(whole.subarray(10, 30))
    expect(whole.byteOffset).toBe(0)
    await checkpoint.close()
  })

  it('refuses a folder without a config, without weights, or with both kinds of weights', async () => {
    const dir = await copyOf(single)
    await rename(join(dir, 'model.safetensors'), join(dir, 'elsewhere'))
    expect(await refusalOf(dir)).toContain(
      'Cannot load model.safetensors: there is no such file, nor model.safetensors.index.json',
    )
    await cp(sharded, dir, { recursive: true })
    await rename(join(dir, 'elsewhere'), join(dir, 'model.safetensors'))
    expect(await refusalOf(dir)).toContain('remove one of them')
    await rm(join(dir, 'config.json'))
    expect(await refusalOf(dir)).toContain('Cannot load config.json: there is no such file')
  })

  it('refuses an index that names a missing shard', async () => {
    const dir = await copyOf(sharded)
    await rm(join(dir, 'model-00002-of-00003.safetensors'))
    expect(await refusalOf(dir)).toContain(
      'Cannot load model-00002-of-00003.safetensors: there is no such file, which model.safetensors.index.json names',
    )
  })

  it('refuses an index and shards that disagree', async () => {
    const dir = await copyOf(sharded)
    const shard = join(dir, 'model-00003-of-00003.safetensors')
    const tensors = await tensorsOf(shard)
    const [first, ...rest] = tensors
    await writeSafetensors(shard, rest)
    expect(await refusalOf(dir)).toContain(`tensor "${first?.name}" is missing`)
    await writeSafetensors(shard, [...tensors, { name: 'extra', type: 'u8', shape: [1], data: Uint8Array.of(1) }])
    expect(await refusalOf(dir)).toContain('it holds tensor "extra", the index says null')
  })

  it.each([
    '../outside.safetensors',
    '/etc/passwd.safetensors',
    '..',
    'a/b.safetensors',
    '.safetensors/../x.safetensors',
  ])('refuses an index that points to %s', async (name) => {
    const dir = await copyOf(sharded)
    const index = { weight_map: { 'lm_head.weight': name } }
    await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify(index))
    expect(await refusalOf(dir)).toContain('expected')
  })

  it('refuses a link out of the folder, and follows one inside it', async () => {
    const dir = await copyOf(single)
    const file = join(dir, 'model.safetensors')
    await rename(file, join(dir, 'weights.bin'))
    await symlink('weights.bin', file)
    expect(await digestOf(dir)).toBe(await digestOf(single))
    await rename(join(dir, 'weights.bin'), join(root, 'weights.bin'))
    await rm(file)
    await symlink(join(root, 'weights.bin'), file)
    expect(await refusalOf(dir)).toContain('a link out of the checkpoint folder')
  })

  it('refuses a folder in the place of a file', async () => {
    const dir = await copyOf(single)
    await rm(join(dir, 'model.safetensors'))
    await mkdir(join(dir, 'model.safetensors'))
    expect(await refusalOf(dir)).toContain('expected a regular file')
  })

  it('refuses truncated weights', async () => {
    const dir = await copyOf(single)
    await truncate(join(dir, 'model.safetensors'), 100_000)
    expect(await refusalOf(dir)).toContain('the data at')
  })

  it('refuses a config that is too large, not UTF-8, or names a field twice', async () => {
    const dir = await copyOf(single)
    const config = join(dir, 'config.json')
    await writeFile(config, '{"vocab_size": 1, "vocab_size": 2}')
    expect(await refusalOf(dir)).toContain('"vocab_size" stands twice')
    await writeFile(config, Uint8Array.of(0x7b, 0xff, 0x7d))
    expect(await refusalOf(dir)).toContain('UTF-8')
    await writeFile(config, ' '.repeat((8 << 20) + 1))
    expect(await refusalOf(dir)).toContain('at most')
  })
})

describe('the digest', () => {
  it('does not depend on how tensors are spread over shards', async () => {
    const dir = await copyOf(sharded)
    const shards = ['1', '2', '3'].map((shard) => join(dir, `model-0000${shard}-of-00003.safetensors`))
    const tensors = (await Promise.all(shards.map(tensorsOf))).flat()
    await Promise.all([...shards, join(dir, 'model.safetensors.index.json')].map((path) => rm(path)))
    await writeSafetensors(join(dir, 'model.safetensors'), tensors)
    expect(await digestOf(dir)).toBe(await digestOf(sharded))
  })

  it('changes with one bit of one weight, one name, one config byte', async () => {
    const original = await digestOf(single)
    const dir = await copyOf(single)
    const path = join(dir, 'model.safetensors')
    const tensors = await tensorsOf(path)
    const [first, ...rest] = tensors
    if (!first) throw new Error('the golden has no tensor')
    await writeSafetensors(path, [{ ...first, name: `${first.name}x` }, ...rest])
    expect(await digestOf(dir)).not.toBe(original)
    first.data[first.data.length - 1] = (first.data.at(-1) ?? 0) ^ 1
    await writeSafetensors(path, tensors)
    expect(await digestOf(dir)).not.toBe(original)
    await cp(single, dir, { recursive: true })
    expect(await digestOf(dir)).toBe(original)
    await writeFile(join(dir, 'config.json'), '\n', { flag: 'a' })
    expect(await digestOf(dir)).not.toBe(original)
  })

  it('of one large tensor takes a few MiB of memory', async () => {
    const dir = await copyOf(single)
    const dataBytes = 200 << 20
    const header = Buffer.from(JSON.stringify({ x: { dtype: 'U8', shape: [dataBytes], data_offsets: [0, dataBytes] } }))
    const file = await open(join(dir, 'model.safetensors'), 'w')
    const length = Buffer.alloc(8)
    length.writeUInt32LE(header.length)
    await file.write(Buffer.concat([length, header]))
    await file.truncate(8 + header.length + dataBytes)
    await file.close()
    let mostBytes = 0
    const before = process.memoryUsage().arrayBuffers
    const watch = setInterval(() => (mostBytes = Math.max(mostBytes, process.memoryUsage().arrayBuffers - before)))
    await digestOf(dir)
    clearInterval(watch)
    expect(mostBytes).toBeGreaterThan(1 << 20)
    expect(mostBytes).toBeLessThan(32 << 20)
  })

  it('of a checkpoint over 256 MiB sees the first, the last and the middle pages of a tensor', async () => {
    const dir = await copyOf(single)
    const path = join(dir, 'model.safetensors')
    const dataBytes = 300 << 20
    const header = new TextEncoder().encode(
      JSON.stringify({ big: { dtype: 'U8', shape: [dataBytes], data_offsets: [0, dataBytes] } }),
    )
    const prefix = new Uint8Array(8 + header.length)
    new DataView(prefix.buffer).setBigUint64(0, BigInt(header.length), true)
    prefix.set(header, 8)
    await writeFile(path, prefix)
    // Sparse: takes no disk.
    await truncate(path, prefix.length + dataBytes)
    const seen = new Set([await digestOf(dir)])
    const middlePage = Math.floor(((dataBytes - (16 << 10)) / 15) * 7)
    for (const at of [0, dataBytes - 1, middlePage]) {
      const handle = await open(path, 'r+')
      await handle.write(Uint8Array.of(1), 0, 1, prefix.length + at)
      await handle.close()
      seen.add(await digestOf(dir))
    }
    expect(seen.size).toBe(4)
  })
})
