/** `axle plan` as its user meets it: what it says of A.X K1, of folders, of this machine, and of wrong questions. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

const root = join(import.meta.dirname, '../..')

interface Finished {
  readonly exitCode: unknown
  readonly stdout: string
  readonly stderr: string
}

async function plan(...args: string[]): Promise<Finished> {
  const child = spawn(process.execPath, [join(root, 'cli/main.ts'), 'plan', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [[exitCode], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)])
  return { exitCode, stdout, stderr }
}

const planned = z.object({
  parameters: z.object({ total: z.int(), active: z.int() }),
  weights: z.object({ bytes: z.int(), shares: z.array(z.object({ kind: z.string(), format: z.string() })) }),
  cache: z.object({ bytesPerToken: z.int() }),
  devices: z.array(
    z.object({
      device: z.object({ name: z.string(), memoryBytes: z.number().nullable() }),
      verdict: z.object({ fits: z.boolean() }),
      decode: z.array(z.object({ roof: z.object({ seconds: z.number().positive() }) })),
    }),
  ),
})

async function planJson(...args: string[]): Promise<z.infer<typeof planned>> {
  const { exitCode, stdout } = await plan(...args, '--json')
  expect(exitCode).toBe(0)
  return planned.parse(JSON.parse(stdout))
}

const tiny = join(root, 'models/axk1-tiny')
const fused = join(root, 'test/goldens/yarn-fused-bf16')

describe('axle plan', { timeout: 120_000 }, () => {
  it('gives A.X K1 518,983,059,456 parameters and 70,272 cache bytes a token', async () => {
    const { parameters, cache, devices } = await planJson('--preset', 'axk1', '--device', 'h100-80g,4090')
    expect([parameters.total, cache.bytesPerToken]).toEqual([518_983_059_456, 70_272])
    expect(devices.map(({ device, verdict }) => [device.name, verdict.fits])).toEqual([
      ['h100-80g', false],
      ['4090', false],
    ])
  })

  it('prints at most 100 columns, the formulas and every device', async () => {
    const flags =
      '--preset axk1 --device h100-80g,h200,4090,5090,l40s --count 8 --experts int4 --rest int8 --context 131072 --sequences 64'
    const { stdout } = await plan(...flags.split(' '))
    expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([])
    for (const expected of ['518,983,059,456', '70,272', 'N·(1 − (1 − k/N)^B)', '8 × l40s', 'NVIDIA H100 data sheet']) {
      expect(stdout).toContain(expected)
    }
  })

  it('says what ends the room for sequences where memory is left', async () => {
    const { stdout } = await plan(
      ...'--preset axk1 --device h200 --count 8 --experts int4 --rest int8 --context 131072'.split(' '),
    )
    expect(stdout).toContain('8 × h200: 1 × 131,072 tokens fit; room for 14 sequences of that context')
    expect(stdout).toContain("A layer's cache is one binding, 2.15 GB on h200: 1,864,128 tokens in all at most")
    const wide = await plan(tiny, '--device', '4090', '--context', '64')
    expect(wide.stdout).toContain("room for 4,096 sequences of that context, a worker's most")
    expect(wide.stdout).not.toContain('one binding')
  })

  it('predicts no speed of a device that the model does not fit on', async () => {
    const int4 = ['--preset', 'axk1', '--experts', 'int4', '--rest', 'int8', '--count', '4']
    const { stdout } = await plan(...int4, '--device', 'h100-80g,4090')
    expect(stdout).toMatch(/^ +1 +1×1 +8\.0 +\d+\.\d( +[\d.,]+){4}( +–){4}$/m)
    expect(stdout).toMatch(/^ {2}chunks of 256: roof +[\d.]+ s +[\d,.]+ +–$/m)
    expect((await plan(...int4, '--device', '4090')).stdout).toContain('it fits on none of these')
  })

  it('takes a folder as it is stored', async () => {
    const { weights } = await planJson(join(root, 'test/goldens/int4-experts'), '--device', '4090')
    const formats = new Map(weights.shares.map(({ kind, format }) => [kind, format]))
    expect([formats.get('routedExperts'), formats.get('attention')]).toEqual(['int4 g32 bf16', 'bf16'])
  })

  it('plans a folder in another mix, with the same parameters', async () => {
    const other = await planJson(fused, '--device', '4090', '--experts', 'int8', '--rest', 'int8')
    const formats = new Map(other.weights.shares.map(({ kind, format }) => [kind, format]))
    expect([formats.get('routedExperts'), formats.get('sharedExperts')]).toEqual(['int8 g32 bf16', 'int8 g32 bf16'])
    expect(other.parameters).toEqual((await planJson(fused, '--device', '4090')).parameters)
  })

  it('measures this machine, and takes its memory as it is told', async () => {
    const { devices } = await planJson(tiny, '--memory', '2GiB', '--context', '256')
    expect(devices.map(({ device }) => [device.name, device.memoryBytes])).toEqual([['this', 2 ** 31]])
    expect(devices[0]?.verdict.fits).toBe(true)
  })

  it.each([
    { why: 'a context beyond the model', args: [tiny, '--device', 'h200', '--context', '2049'], says: /2,048/ },
    { why: 'more devices than layers', args: [tiny, '--device', 'h200', '--count', '7'], says: /6 layers/ },
    { why: 'fp8 beside int8', args: [tiny, '--device', 'h200', '--experts', 'fp8', '--rest', 'int8'], says: /fp8/ },
    { why: 'a folder that is none', args: [join(root, 'test'), '--device', 'h200'], says: /config\.json/ },
    { why: 'an unknown device', args: [tiny, '--device', 'h1000'], says: /--device/ },
  ])('refuses $why in a sentence', async ({ args, says }) => {
    const { exitCode, stdout, stderr } = await plan(...args)
    expect([exitCode, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(says)
    expect(stderr).not.toMatch(/\n\s+at /)
  })

  it('explains itself', async () => {
    const { exitCode, stdout } = await plan('--help')
    expect(exitCode).toBe(0)
    for (const flag of [
      '--preset',
      '--device',
      '--count',
      '--experts',
      '--rest',
      '--group',
      '--context',
      '--sequences',
    ]) {
      expect(stdout).toContain(flag)
    }
    expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([])
  })
})
