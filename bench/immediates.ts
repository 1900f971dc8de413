/**
 * `npm run bench -- immediates`: what a dispatch costs with its parameters as immediates, and in a uniform buffer as ours.
 *
 * A pass of a hundred tiny dispatches, as a step of axk1-tiny is, encoded both ways in turns; sixteen words of parameters.
 * Their sum is checked. It decides nothing: docs/decisions.md does.
 */
import { strict as assert } from 'node:assert'
import { Buffers, type Slice } from '../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../gpu-worker/gpu/device.ts'
import { Readback } from '../gpu-worker/gpu/readback.ts'
import { toggleProfiles } from '../gpu-worker/toggle-profiles.ts'
import { machineName, percentile, type Report } from './report.ts'

const dispatchCount = 100
const rounds = 200
/** All that immediates hold. */
const words = Uint32Array.from({ length: 16 }, (_, i) => i + 1)
const sumOfWords = words.reduce((sum, word) => sum + word, 0)

const body = `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  let s = p.a + p.b + p.c + p.d;
  out[lane] = s.x + s.y + s.z + s.w;
}`
const struct = 'struct P { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32> }\n'
const uniform = `${struct}@group(0) @binding(1) var<uniform> p: P;${body}`
const immediate = `requires immediate_address_space;\n${struct}var<immediate> p: P;${body}`

interface Way {
  readonly name: string
  readonly encode: (pass: GPUComputePassEncoder) => void
  readonly encodeMs: number[]
  readonly stepMs: number[]
}

export async function immediates(): Promise<Report> {
  const gpu = await openDevice({ toggles: toggleProfiles.default })
  const buffers = new Buffers(gpu, 'immediates')
  try {
    const out = buffers.storage('out', 256)
    const ways = [uniformWay(gpu, buffers, out), immediateWay(gpu, out)]
    const readback = new Readback(gpu, buffers, out.bytes)
    for (let round = 0; round < rounds; round += 1) for (const way of ways) await measure(gpu, way, readback, out)
    return {
      bench: 'immediates',
      machine: machineName(),
      adapter: gpu.adapter.description,
      date: new Date().toISOString().slice(0, 10),
      notes: [`${dispatchCount} dispatches a pass, median of ${rounds}, in turns`],
      figures: ways.flatMap(({ name, encodeMs, stepMs }) => [
        { name: `${name}: encode`, value: percentile(encodeMs, 0.5), unit: 'ms' },
        { name: `${name}: whole pass`, value: percentile(stepMs, 0.5), unit: 'ms' },
      ]),
    }
  } finally {
    buffers.close()
    gpu.close()
  }
}

async function measure(gpu: Gpu, { encode, encodeMs, stepMs }: Way, readback: Readback, out: Slice): Promise<void> {
  const startedAt = performance.now()
  const encoder = gpu.device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  encode(pass)
  pass.end()
  readback.copy(encoder, out, out.bytes)
  const commands = encoder.finish()
  encodeMs.push(performance.now() - startedAt)
  gpu.device.queue.submit([commands])
  const values = new Uint32Array((await readback.read(out.bytes, 'a pass')).buffer)
  stepMs.push(performance.now() - startedAt)
  assert(
    values.every((value) => value === sumOfWords),
    'A pass computed something else',
  )
}

function uniformWay(gpu: Gpu, buffers: Buffers, out: Slice): Way {
  const { device } = gpu
  const pipeline = pipelineOf(gpu, uniform)
  const params = buffers.create('params', words.byteLength, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST)
  device.queue.writeBuffer(params, 0, words)
  const entries = [out.buffer, params].map((buffer, binding) => ({ binding, resource: { buffer } }))
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries })
  return wayOf('uniform', (pass) => {
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, group)
    pass.dispatchWorkgroups(1)
  })
}

function immediateWay(gpu: Gpu, out: Slice): Way {
  const { device } = gpu
  const pipeline = pipelineOf(gpu, immediate)
  const entries = [{ binding: 0, resource: { buffer: out.buffer } }]
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries })
  return wayOf('immediates', (pass) => {
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, group)
    pass.setImmediates(0, words)
    pass.dispatchWorkgroups(1)
  })
}

function wayOf(name: string, dispatch: (pass: GPUComputePassEncoder) => void): Way {
  const encode = (pass: GPUComputePassEncoder): void => {
    for (let i = 0; i < dispatchCount; i += 1) dispatch(pass)
  }
  return { name, encode, encodeMs: [], stepMs: [] }
}

function pipelineOf({ device }: Gpu, code: string): GPUComputePipeline {
  const module = device.createShaderModule({ code })
  return device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } })
}
