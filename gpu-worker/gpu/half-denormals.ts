/**
 * Asks an adapter whether its conversions from f16 keep denormals: WGSL lets them become 0, and no feature says which.
 *
 * Knows nothing of weights.
 */

/** Every denormal of f16 is a fraction of ten bits times 2^-24. */
const FRACTIONS = 1024
const FRACTION_UNIT = 2 ** -24
const WORKGROUP = 64

const source = `
@group(0) @binding(0) var<storage, read> halves: array<u32>;
@group(0) @binding(1) var<storage, read_write> values: array<vec2<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  values[id.x] = unpack2x16float(halves[id.x]);
}
`

/** Both halves of a word, both signs: each denormal as it is. */
export async function keepsHalfDenormals(device: GPUDevice): Promise<boolean> {
  const pairs = Uint32Array.from({ length: FRACTIONS }, (_, fraction) => fraction | ((0x8000 | fraction) << 16))
  const bytes = FRACTIONS * 8
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage
  const halves = device.createBuffer({ size: pairs.byteLength, usage: STORAGE | COPY_DST })
  const values = device.createBuffer({ size: bytes, usage: STORAGE | COPY_SRC })
  const answer = device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST })
  try {
    device.queue.writeBuffer(halves, 0, pairs)
    const module = device.createShaderModule({ code: source })
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module } })
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(pipeline)
    const entries = [halves, values].map((buffer, binding) => ({ binding, resource: { buffer } }))
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    pass.dispatchWorkgroups(FRACTIONS / WORKGROUP)
    pass.end()
    encoder.copyBufferToBuffer(values, 0, answer, 0, bytes)
    device.queue.submit([encoder.finish()])
    await answer.mapAsync(GPUMapMode.READ)
    const got = new Float32Array(answer.getMappedRange())
    return got.every((value, i) => Object.is(value, (i % 2 === 0 ? 1 : -1) * (i >> 1) * FRACTION_UNIT))
  } finally {
    for (const buffer of [halves, values, answer]) buffer.destroy()
  }
}
