/** Comparing logits: on ids that the model has, in the memory there is, and never with an error that is no number. */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { measureLogitError, type LogitOutcome } from '../../../cli/convert/logit-error.ts'
import { logitPrompts } from '../../../cli/convert/logit-prompts.ts'
import { readSafetensors, writeSafetensors } from '../../../gpu-worker/model/safetensors.ts'

const golden = join(import.meta.dirname, '../../goldens/yarn-fused-bf16')
/** Of its config. */
const [vocabSize, contextTokensMax] = [512, 256]

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'axle-logits-'))
})
afterAll(() => rm(dir, { recursive: true }))

async function idsFile(name: string, ...prompts: (readonly number[])[]): Promise<string> {
  const path = join(dir, `${name}.safetensors`)
  const tensors = prompts.map((ids, k) => {
    const data = new Uint8Array(Int32Array.from(ids).buffer)
    return { name: `ids.${k}`, type: 'i32' as const, shape: [ids.length], data }
  })
  await writeSafetensors(path, tensors)
  return path
}

const many = Array.from({ length: contextTokensMax + 1 }, (_, i) => i % vocabSize)

describe('prompts', () => {
  it('of a file are cut to the context, and empty ones left out', async () => {
    const found = await logitPrompts(golden, await idsFile('long', many, [], [vocabSize - 1]))
    expect(found?.prompts).toEqual([many.slice(0, contextTokensMax), [vocabSize - 1]])
  })

  it.each([
    ['an id beyond the vocabulary', [3, vocabSize], `Expected ids 0 … ${vocabSize - 1}, got ${vocabSize}`],
    ['a negative id', [-1], 'got -1'],
    ['no id at all', [], 'there are no token ids'],
  ])('with %s are refused before anything is converted', async (name, ids, message) => {
    await expect(logitPrompts(golden, await idsFile(name, ids))).rejects.toThrow(message)
  })
})

describe('measureLogitError', () => {
  const prompts = { origin: 'test', prompts: [many.slice(0, contextTokensMax)] }

  it('is 0 between a checkpoint and itself', async () => {
    const same = await measureLogitError({ sourceDir: golden, outDir: golden, prompts, gpuBytesMax: null })
    expect(same).toMatchObject({
      kind: 'measured',
      error: { positionCount: contextTokensMax, nmse: 0, worstNmse: 0, topAgreement: 1 },
    })
  })

  it('says so where a budget has no room for the longest prompt', async () => {
    // From what cannot hold the weights to what holds everything, in steps of less than this prompt's cache.
    const outcomes: LogitOutcome[] = []
    for (let gpuBytesMax = 67_400_000; outcomes.at(-1)?.kind !== 'measured'; gpuBytesMax += 60_000) {
      outcomes.push(await measureLogitError({ sourceDir: golden, outDir: golden, prompts, gpuBytesMax }))
    }
    const doesNotFit = { kind: 'skipped', reason: expect.stringContaining('does not fit') }
    expect(outcomes.length).toBeGreaterThan(3)
    expect(outcomes.slice(0, -1)).toEqual(outcomes.slice(0, -1).map(() => doesNotFit))
  })

  it('has no number for logits that are none', async () => {
    const broken = join(dir, 'broken')
    await cp(golden, broken, { recursive: true })
    const file = await readSafetensors(join(golden, 'model.safetensors'))
    const tensors = []
    for (const info of file.tensors.values()) tensors.push({ ...info, data: await file.read(info.name) })
    await file.close()
    tensors.find(({ name }) => name === 'model.norm.weight')?.data.fill(0xff)
    await writeSafetensors(join(broken, 'model.safetensors'), tensors)
    const outcome = await measureLogitError({ sourceDir: golden, outDir: broken, prompts, gpuBytesMax: null })
    expect(outcome).toMatchObject({ kind: 'skipped', reason: expect.stringContaining('not all numbers') })
  })
})
