/**
 * The model on the GPU against transformers in float32, on every golden and on axk1-tiny: logits, experts, greedy tokens.
 *
 * Held to the project's aim of 1e-10, a hundred times less than its bound. The frozen expectations of 16-bit checkpoints
 * were made with rounded RoPE frequencies (test/goldens/README.md): they are met when the rounding is repeated.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SMALL_BINDING_BYTES, SMALL_BINDING_ROWS, verifyFile } from '../../cli/verify/fidelity.ts'
import type { PromptErrors } from '../../cli/verify/measure.ts'
import { roundedFrequencies } from '../../cli/verify/rounded-frequencies.ts'
import { NMSE_MAX, shortfalls, worstNmse, worstNmseRoutedAlike } from '../../cli/verify/verdict.ts'
import type { LoadOptions } from '../../gpu-worker/model/load-runner.ts'

const root = join(import.meta.dirname, '../..')
const goldens = join(root, 'test/goldens')
const tiny = { name: 'axk1-tiny', dir: join(root, 'models/axk1-tiny'), truth: 'expected.safetensors' }
const folders = readdirSync(goldens)
  .filter((name) => existsSync(join(goldens, name, 'config.json')))
  .map((name) => ({ name, dir: join(goldens, name), truth: 'float32.safetensors' }))

/** The project's aim; its bound is `NMSE_MAX.exact`. */
const AIM = 1e-10
/** Steps of one row, and of a number that divides neither a tile nor a block. */
const someChunkings = [1, 7]

async function measured(
  dir: string,
  truth: string,
  options: Partial<LoadOptions> = {},
  chunkings: readonly number[] = [],
): Promise<PromptErrors[]> {
  return (await verifyFile(dir, join(dir, truth), options, chunkings)).results
}

describe.each([tiny, ...folders])('$name', { timeout: 60_000 }, ({ dir, truth }) => {
  let whole: PromptErrors[] = []

  it('every position is within 1e-10, experts and greedy tokens are the same, and so are the bits of any chunking', async () => {
    whole = await measured(dir, truth, {}, someChunkings)
    expect(shortfalls(whole, 'exact')).toEqual([])
    expect(worstNmse(whole)).toBeLessThan(AIM)
    // Nothing was compared with nothing.
    expect(whole.some(({ worst }) => worst !== null) && whole.every(({ greedyEqual }) => greedyEqual === true)).toBe(
      true,
    )
  })

  it('bindings of 64 KiB change nothing', async () => {
    const small = await measured(dir, truth, { bindingBytesMax: SMALL_BINDING_BYTES, rowsMax: SMALL_BINDING_ROWS })
    expect(small).toEqual(whole)
  })

  it('a KV cache in f16 costs more than f32 noise and at most 1e-5, until it tips a routing', async () => {
    const kv16 = await measured(dir, truth, { profile: 'kv16' })
    expect(shortfalls(kv16, 'kv16')).toEqual([])
    expect(worstNmseRoutedAlike(kv16)).toBeGreaterThan(NMSE_MAX.exact)
  })
})

describe.each(folders.filter(({ dir }) => existsSync(join(dir, 'expected.safetensors'))))('$name', ({ dir }) => {
  it('meets its frozen expectations within 1e-10 once their rounding of the frequencies is repeated', async () => {
    const config = readFileSync(join(dir, 'config.json'), 'utf8')
    const stored = /"torch_dtype": "(\w+)"/.exec(config)?.[1] ?? ''
    const type = ({ float32: 'f32', float16: 'f16', bfloat16: 'bf16' } as const)[stored] ?? 'f32'
    const frozen = await measured(dir, 'expected.safetensors', { inverseFrequencies: roundedFrequencies(type) })
    expect(shortfalls(frozen, 'exact')).toEqual([])
    expect(worstNmse(frozen)).toBeLessThan(AIM)
  })
})
