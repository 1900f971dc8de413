/** The GPU worker's process where it cannot start: one clear message with the way out, and exit 1. */
import { cp, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { runToEnd } from '../fixtures/child-process.ts'
import { freePort, startRedis, type TestRedis } from '../fixtures/redis.ts'

const script = 'gpu-worker/main.ts'
const worker = { AXLE_MODEL: 'models/axk1-tiny', AXLE_WORKER_ID: 'w1' }
let server: TestRedis
let folder: string

beforeAll(async () => {
  server = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'axle-checkpoint-'))
})
afterAll(async () => {
  await server.stop()
  await rm(folder, { recursive: true })
})

describe('a GPU worker that cannot start', () => {
  it('names the settings that are wrong', async () => {
    const { exitCode, messages } = await runToEnd(script, { ...worker, REDIS_URL: 'http://x', AXLE_LANES: 'many' })
    expect(exitCode).toBe(1)
    expect(messages.at(-1)).toMatchObject({ kind: 'fatal', message: expect.stringMatching(/REDIS_URL[^]*AXLE_LANES/) })
  })

  it('says that Redis does not answer, and keeps the password to itself', async () => {
    const url = `redis://user:s3cret-pw@127.0.0.1:${await freePort()}`
    const { exitCode, messages, output } = await runToEnd(script, { ...worker, REDIS_URL: url })
    expect(exitCode).toBe(1)
    expect(messages.at(-1)).toMatchObject({ kind: 'fatal', wayOut: expect.stringContaining('REDIS_URL') })
    expect(output + JSON.stringify(messages)).not.toContain('s3cret-pw')
  })

  it('case 39: refuses a Redis that would evict accepted jobs', async () => {
    const evicting = await startRedis()
    onTestFinished(() => evicting.stop())
    await evicting.connect().config('SET', 'maxmemory-policy', 'allkeys-lfu')
    const { exitCode, messages } = await runToEnd(script, { ...worker, REDIS_URL: evicting.url })
    expect(exitCode).toBe(1)
    expect(messages.at(-1)).toMatchObject({
      kind: 'fatal',
      message: expect.stringContaining('allkeys-lfu'),
      wayOut: expect.stringContaining('noeviction'),
    })
  })

  it('says which file of the checkpoint is broken', async () => {
    await writeFile(join(folder, 'config.json'), '{"model_type": "axk1"')
    const { exitCode, messages } = await runToEnd(script, { ...worker, REDIS_URL: server.url, AXLE_MODEL: folder })
    expect(exitCode).toBe(1)
    expect(messages.at(-1)).toMatchObject({
      kind: 'fatal',
      message: expect.stringContaining('config.json'),
      wayOut: expect.stringContaining('AXLE_MODEL'),
    })
  })

  it('says that the weights are broken, and its log which', async () => {
    const broken = join(folder, 'broken')
    await cp('models/axk1-tiny', broken, { recursive: true })
    const path = join(broken, 'model.safetensors')
    const { size } = await stat(path)
    const file = await open(path, 'r+')
    // The last value of the last tensor becomes bf16 NaN.
    await file.write(Uint8Array.of(0xc0, 0x7f), 0, 2, size - 2)
    await file.close()
    const { exitCode, messages, output } = await runToEnd(script, {
      ...worker,
      REDIS_URL: server.url,
      AXLE_MODEL: broken,
    })
    expect(exitCode).toBe(1)
    expect(messages.at(-1)).toMatchObject({
      kind: 'fatal',
      message: expect.stringContaining('NaN'),
      wayOut: expect.stringContaining('The log names'),
    })
    expect(output).toMatch(/"tensor":"[\w.]+","count":1/)
  })

  it('says what the smallest cache is when there is room for none', async () => {
    const { messages } = await runToEnd(script, { ...worker, REDIS_URL: server.url, AXLE_KV_BYTES: '100' })
    const [, least = ''] = /AXLE_KV_BYTES=(\d+) or more/.exec(JSON.stringify(messages.at(-1))) ?? []
    // 32 tokens of 6 layers, 48 f32 each.
    expect(Number(least)).toBe(32 * 6 * 48 * 4)
  })

  it('says what goes where when its budget is too small, and what would help', async () => {
    const { exitCode, messages } = await runToEnd(script, { ...worker, REDIS_URL: server.url, AXLE_GPU_BYTES: '1MiB' })
    expect(exitCode).toBe(1)
    expect(messages.at(-1)).toMatchObject({
      kind: 'fatal',
      message: expect.stringMatching(/does not fit in 1\.00 MiB: the least it takes is [^]*weights[^]*KV cache/),
      wayOut: expect.stringMatching(/AXLE_GPU_BYTES=\d+MiB or more/),
    })
  })

  it('names a toggle that Dawn does not have', async () => {
    const { exitCode, messages } = await runToEnd(script, {
      ...worker,
      REDIS_URL: server.url,
      AXLE_DAWN_TOGGLES: 'skip_validation,disable_robustnes',
    })
    expect(exitCode).toBe(1)
    expect(messages.at(-1)).toMatchObject({
      kind: 'fatal',
      message: 'Dawn knows no toggle disable_robustnes',
      wayOut: expect.stringContaining('AXLE_DAWN_TOGGLES'),
    })
  })
})
