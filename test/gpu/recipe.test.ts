/** Recipes: constants reach the shader they were meant for, and what cannot be dispatched is refused, not skipped. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { sortConstants } from '../../gpu-worker/gpu/constants.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Pipelines } from '../../gpu-worker/gpu/pipelines.ts'
import { holding, type Dispatch, type Grid, type Program } from '../../gpu-worker/gpu/program.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { buildRecipe, type Recipe } from '../../gpu-worker/gpu/recipe.ts'

const source = `
override BASE: u32;
struct Params {
  SCALE: f32,
  SHIFT: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
  out[group.x] = BASE + (group.x << params.SHIFT) + u32(params.SCALE);
}
`
const program: Program = { name: 'probe', source, access: ['write'], constants: { BASE: 100, SCALE: 2.5, SHIFT: 1 } }

let gpu: Gpu
let buffers: Buffers
beforeAll(async () => {
  gpu = await openDevice()
  buffers = new Buffers(gpu, 'test')
})
afterAll(() => {
  buffers.close()
  gpu.close()
})

function dispatch(grid: (rows: number) => Grid | null): Dispatch {
  return { program, bindings: [buffers.storage('out', 16)], grid }
}

function named(name: string): Dispatch {
  return { ...dispatch(() => [1, 1, 1]), program: { ...program, name } }
}

function build(only: Dispatch): Promise<Recipe<'all'>> {
  return buildRecipe(gpu, new Pipelines(gpu), buffers, [{ dispatch: only, rows: 'all' }])
}

describe('sortConstants()', () => {
  it('splits by declaration and packs parameters in the order and type of the shader', () => {
    const { overrides, params } = sortConstants(program)
    expect(overrides).toEqual({ BASE: 100 })
    expect([...new Uint32Array(params?.buffer ?? new ArrayBuffer())]).toEqual([0x40200000, 1])
  })

  it('refuses a name the shader lacks, a name that is missing, and a value that does not fit', () => {
    expect(() => sortConstants({ ...program, constants: { ...program.constants, EXTRA: 1 } })).toThrow(/EXTRA/)
    expect(() => sortConstants({ ...program, constants: { BASE: 1, SCALE: 1 } })).toThrow(/SHIFT/)
    expect(() => sortConstants({ ...program, constants: { BASE: 1, SCALE: 1, SHIFT: -1 } })).toThrow(/Cannot pack -1/)
  })
})

describe('a Recipe', () => {
  it('runs its dispatches with their constants, and leaves out what has no part', async () => {
    const probe = dispatch((rows) => (rows > 9 ? null : [rows, 1, 1]))
    const recipe = await build(probe)
    const encoder = gpu.device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    expect(recipe.encode(pass, { all: 3 })).toEqual(['probe'])
    expect(recipe.encode(pass, { all: 10 })).toEqual([])
    expect(recipe.encode(pass, { all: 0 })).toEqual([])
    pass.end()
    const readback = new Readback(gpu, buffers, 16)
    const [out] = probe.bindings
    if (out === undefined) throw new Error('The probe binds one buffer')
    readback.copy(encoder, out, 12)
    gpu.device.queue.submit([encoder.finish()])
    expect([...new Uint32Array((await readback.read(12, 'a test')).buffer)]).toEqual([102, 104, 106])
  })

  it('can be cut into parts: what is alike stays together, in order', async () => {
    const dispatches = ['a1', 'a2', 'b1', 'a3'].map((name) => ({ dispatch: named(name), rows: 'all' as const }))
    const recipe = await buildRecipe(gpu, new Pipelines(gpu), buffers, dispatches)
    const pass = gpu.device.createCommandEncoder().beginComputePass()
    const parts = recipe.partsBy(({ program: { name } }) => name[0])
    expect(parts.map((part) => [part.key, part.recipe.encode(pass, { all: 1 })])).toEqual([
      ['a', ['a1', 'a2']],
      ['b', ['b1']],
      ['a', ['a3']],
    ])
  })

  it('refuses a grid beyond the limit, which would compute nothing', async () => {
    const most = gpu.limits.maxComputeWorkgroupsPerDimension
    const recipe = await build(dispatch((rows) => [most + rows, 1, 1]))
    const pass = gpu.device.createCommandEncoder().beginComputePass()
    expect(() => recipe.encode(pass, { all: 1 })).toThrow(/Cannot dispatch probe/)
  })

  it('says which shader an adapter cannot build', async () => {
    const storage = gpu.limits.maxComputeWorkgroupStorageSize
    const greedy = `${source}\nvar<workgroup> room: array<u32, ${storage / 4 + 1}>;`
    const body = greedy.replace('out[group.x] =', 'room[group.x] = 1u;\n  out[group.x] =')
    const other = await openDevice()
    const own = new Buffers(other, 'test')
    const broken = {
      ...dispatch((rows) => [rows, 1, 1]),
      program: { ...program, source: body },
      bindings: [own.storage('out', 16)],
    }
    const building = buildRecipe(other, new Pipelines(other), own, [{ dispatch: broken, rows: 'all' }])
    await expect(building).rejects.toMatchObject({ message: expect.stringMatching(/probe|GPU refused/) })
    other.close()
  })

  it('builds one pipeline for programs that differ in parameters alone', async () => {
    const pipelines = new Pipelines(gpu)
    const of = (constants: Program['constants']) => ({
      dispatch: { ...dispatch((rows) => [rows, 1, 1]), program: { ...program, constants } },
      rows: 'all' as const,
    })
    const { constants } = program
    await buildRecipe(gpu, pipelines, buffers, [
      of(constants),
      of({ ...constants, SHIFT: 5 }),
      of({ ...constants, BASE: 1 }),
    ])
    expect(pipelines.count).toBe(2)
  })
})

it('holding() refuses a binding that is too small', () => {
  const slice = buffers.storage('small', 16)
  expect(holding(slice, 16, 'small')).toBe(slice)
  expect(() => holding(slice, 17, 'small')).toThrow(/small is too small: need 17 bytes, got 16/)
})
