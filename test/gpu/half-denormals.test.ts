/** Denormals of f16: what a device says of its conversions decides which dispatches run there. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Pipelines } from '../../gpu-worker/gpu/pipelines.ts'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { buildRecipe } from '../../gpu-worker/gpu/recipe.ts'

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

/** The largest denormal and the smallest, of either sign, from what the compiler cannot know. */
const source = `
@group(0) @binding(0) var<storage, read_write> out: array<vec2<f32>>;

@compute @workgroup_size(1)
fn main() {
  let none = bitcast<u32>(out[0].x);
  out[0] = unpack2x16float(0x83ff0001u | none);
}
`

it('a device keeps denormals exactly where it says so, and runs what is for such devices', async () => {
  const out = buffers.storage('out', 8)
  const program = { name: 'denormals', source, access: ['write'], constants: {} } as const
  const dispatches = [true, false].map((halfDenormals): Dispatch => ({
    program: { ...program, name: String(halfDenormals) },
    bindings: [out],
    halfDenormals,
    grid: () => [1, 1, 1],
  }))
  const rowDispatches = dispatches.map((dispatch) => ({ dispatch, rows: 'all' as const }))
  const recipe = await buildRecipe(gpu, new Pipelines(gpu), buffers, rowDispatches)
  const encoder = gpu.device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  expect(recipe.encode(pass, { all: 1 })).toEqual([String(gpu.keepsHalfDenormals)])
  pass.end()
  const readback = new Readback(gpu, buffers, 8)
  readback.copy(encoder, out, 8)
  gpu.device.queue.submit([encoder.finish()])
  const values = [...new Float32Array((await readback.read(8, 'denormals')).buffer)]
  const kept = [2 ** -24, -1023 * 2 ** -24]
  expect(values.join() === kept.join()).toBe(gpu.keepsHalfDenormals)
})
