/** `axle inspect`: what it tells of checkpoints that load, and of those that do not. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest'
import { inspect } from '../../cli/inspect.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { readSafetensors, writeSafetensors, type TensorData } from '../../gpu-worker/model/safetensors.ts'

let root = ''
let out: MockInstance<typeof console.log>
let err: MockInstance<typeof console.error>
let exitCodeBefore: typeof process.exitCode

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'axle-inspect-'))
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(() => {
  exitCodeBefore = process.exitCode
  process.exitCode = undefined
  out = vi.spyOn(console, 'log').mockReturnValue()
  err = vi.spyOn(console, 'error').mockReturnValue()
})
afterEach(() => {
  process.exitCode = exitCodeBefore
  vi.restoreAllMocks()
})

const textOf = (spy: MockInstance): string => spy.mock.calls.flat().join('\n')

async function told(...args: string[]): Promise<{ text: string; errors: string; exitCode: unknown }> {
  await inspect(args)
  return { text: textOf(out), errors: textOf(err), exitCode: process.exitCode }
}

/** A copy of a golden whose tensors were changed. */
async function changed(golden: string, change: (tensors: TensorData[]) => TensorData[]): Promise<string> {
  const dir = await mkdtemp(join(root, 'copy-'))
  await cp(`test/goldens/${golden}/config.json`, join(dir, 'config.json'))
  const file = await readSafetensors(`test/goldens/${golden}/model.safetensors`)
  const tensors: TensorData[] = []
  for (const { name, type, shape } of file.tensors.values()) {
    tensors.push({ name, type, shape, data: await file.read(name) })
  }
  await file.close()
  await writeSafetensors(join(dir, 'model.safetensors'), change(tensors))
  return dir
}

describe('axle inspect', async () => {
  const entries = await readdir('test/goldens', { withFileTypes: true })
  const goldens = entries.filter((entry) => entry.isDirectory()).map(({ name }) => `test/goldens/${name}`)

  it.each(['models/axk1-tiny', ...goldens])('says of %s that it can be loaded', async (dir) => {
    const { text, exitCode } = await told(dir)
    expect(text).toContain('It can be loaded.')
    expect(exitCode).toBeUndefined()
  })

  it('tells shape, parameters, formats, what is ignored and what to beware of', async () => {
    const { text } = await told('models/axk1-tiny')
    expect(text).toContain('of the shape of A.X K1 (AXK1ForCausalLM)')
    expect(text).toContain('5,392,320 parameters, 1,705,792 of them active for a token')
    expect(text).toMatch(/routed experts +bf16 +360 +4,423,680 +8\.44 MiB +8\.44 MiB/)
    expect(text).toContain(
      'Ignored, 1: dense layers have no norm after their MLP (model.layers.0.post_mlp_layernorm.weight)',
    )
    expect(text).toContain('Warning: e_score_correction_bias')
  })

  it('lets no name in a file steer the terminal', async () => {
    const evil: TensorData = { name: 'mtp.\u001b[2J\u009b2J', type: 'f32', shape: [1], data: new Uint8Array(4) }
    const { text } = await told(await changed('yarn-fused-bf16', (tensors) => [...tensors, evil]))
    expect(text).toContain(String.raw`"mtp.\u001b[2J\u{9b}2J"`)
    expect(text).not.toMatch(/[^\P{Cc}\n]/u)
  })

  it('tells quantised formats apart', async () => {
    const { text } = await told('test/goldens/int4-zero-points')
    expect(text).toContain('quantised by compressed-tensors')
    expect(text).toMatch(/attention +int8 g24 f16 zero points/)
    expect(text).toMatch(/routed experts +int4 g20 f16 zero points/)
  })

  it('gives the same as JSON, with bytes that add up', async () => {
    const { text } = await told('test/goldens/fp8-blocks-128', '--json')
    const account: unknown = JSON.parse(text)
    expect(account).toMatchObject({
      quantizedBy: 'fp8',
      fileCount: 1,
      tensorCount: 237,
      parameters: { total: 580_312, active: 407_512 },
      problems: [],
    })
    const { shares, parameters } = account as { shares: { parameterCount: number }[]; parameters: { total: number } } // as above
    expect(shares.reduce((sum, { parameterCount }) => sum + parameterCount, 0)).toBe(parameters.total)
  })

  it('lists everything that is missing, misshapen or unknown, and exits with 1', async () => {
    const dir = await changed('yarn-fused-bf16', (tensors) => [
      ...tensors.filter(({ name }) => name !== 'model.norm.weight' && !name.endsWith('q_b_proj.weight')),
      { name: 'visual.patch.weight', type: 'f32', shape: [1], data: new Uint8Array(4) },
    ])
    const { text, exitCode } = await told(dir)
    expect(text).toContain('It cannot be loaded, for 6 reasons:')
    expect(text).toContain('  model.norm.weight is missing\n')
    for (const layer of [0, 1, 2, 3])
      expect(text).toContain(`  model.layers.${layer}.self_attn.q_b_proj.weight is missing`)
    expect(text).toContain('  "visual.patch.weight" is no part of this model')
    expect(exitCode).toBe(1)
  })

  it('holds the shapes that packed weights name against the config', async () => {
    const name = 'model.layers.1.mlp.experts.3.up_proj.weight_shape'
    const dir = await changed('int4-zero-points', (tensors) =>
      tensors.map((tensor) =>
        tensor.name === name ? { ...tensor, data: new Uint8Array(BigInt64Array.of(36n, 75n).buffer) } : tensor,
      ),
    )
    const { text, exitCode } = await told(dir)
    expect(text).toContain(`It cannot be loaded, for one reason:\n  ${name} says 36 × 75, expected 36 × 76`)
    expect(exitCode).toBe(1)
    await expect(loadRunner({ checkpoint: dir })).rejects.toThrow(`${name} says 36 × 75, expected 36 × 76`)
  })

  it('says of weights without a tokenizer or a template that they load, and what keeps them from being served', async () => {
    const weights = await changed('yarn-fused-bf16', (tensors) => tensors)
    const { text, exitCode } = await told(weights)
    expect(text).toContain(
      'It can be loaded.\nIt cannot be served; logits and verify do without: Cannot load tokenizer.json',
    )
    expect(exitCode).toBeUndefined()
    await cp('models/axk1-tiny', weights, { recursive: true })
    await writeFile(join(weights, 'chat_template.jinja'), '{% for %}')
    expect((await told(weights)).text).toContain('do without: Cannot load chat_template.jinja')
    out.mockClear()
    expect((await told('models/axk1-tiny')).text).not.toContain('cannot be served')
  })

  it('says in a sentence what is wrong with a config or a file', async () => {
    const dir = await changed('yarn-fused-bf16', (tensors) => tensors)
    const path = join(dir, 'config.json')
    const config = await readFile(path, 'utf8')
    await writeFile(path, config.replace('"hidden_act": "silu"', '"hidden_act": "gelu", "index_topk": 2048'))
    expect((await told(dir)).errors).toContain('Cannot load config.json: hidden_act: not supported yet: "gelu"')
    expect(process.exitCode).toBe(1)
    expect((await told(join(root, 'nowhere'))).errors).toContain('config.json')
    expect((await told()).errors).toContain('Expected one folder')
  })

  it('explains itself', async () => {
    expect((await told('--help')).text).toContain('inspect DIR [--json]')
  })
})
