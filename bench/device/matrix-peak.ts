/**
 * What subgroup matrices can do at most: chains of products of 16 × 16 matrices of f16, summed in f32. The result is checked.
 *
 * Dawn offers them under toggles alone, so it opens a device of its own. Nothing of Axle's profile exact runs on them.
 */
import { ProbeBench } from '../../cli/plan/probe-bench.ts'
import { openDevice } from '../../gpu-worker/gpu/device.ts'
import { toggleProfiles } from '../../gpu-worker/toggle-profiles.ts'

const SIDE = 16
const SUBGROUP_LANES = 32
const LANES = 256
const WORKGROUPS = 1024
const CHAINS = 8
const LOOPS = 1024

/** Operations a second; null where the adapter has none. */
export async function measureMatrices(): Promise<number | null> {
  const gpu = await openDevice({ toggles: toggleProfiles.default })
  const bench = new ProbeBench(gpu)
  try {
    if (!gpu.hasMatrices) return null
    const factors = bench.storage('factors', 4)
    const y = bench.storage('y', WORKGROUPS * LANES * 4)
    bench.write(factors, new Float32Array([1]))
    const program = {
      name: 'matrix-chains',
      source: source(),
      access: ['read', 'write'],
      constants: { LOOPS },
    } as const
    const seconds = await bench.seconds([{ program, bindings: [factors, y], grid: () => [WORKGROUPS, 1, 1] }])
    const got = new Float32Array(await bench.read(y, WORKGROUPS * LANES * 4))
    bench.check(
      'matrix-chains',
      got.every((sum) => sum === CHAINS * LOOPS * SIDE),
    )
    const subgroups = (WORKGROUPS * LANES) / SUBGROUP_LANES
    return (subgroups * CHAINS * LOOPS * 2 * SIDE ** 3) / seconds
  } finally {
    bench.close()
    gpu.close()
  }
}

/** All factors are 1: an element of a chain grows by 16 a link. Each lane tells one element of each chain of its subgroup. */
function source(): string {
  const names = Array.from({ length: CHAINS }, (_, i) => `c${i}`)
  const each = (text: (name: string) => string): string => names.map(text).join('')
  return `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);

struct Params {
  LOOPS: u32,
}

@group(0) @binding(0) var<storage, read> factors: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> ones: array<f16, ${SIDE * SIDE}>;
var<workgroup> elements: array<f32, ${(LANES / SUBGROUP_LANES) * SIDE * SIDE}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  ones[lane] = f16(factors[0]);
  workgroupBarrier();
  let left = subgroupMatrixLoad<subgroup_matrix_left<f16, ${SIDE}, ${SIDE}>, row_major>(&ones, 0u, ${SIDE}u);
  let right = subgroupMatrixLoad<subgroup_matrix_right<f16, ${SIDE}, ${SIDE}>, col_major>(&ones, 0u, ${SIDE}u);
${each((name) => `  var ${name}: subgroup_matrix_result<f32, ${SIDE}, ${SIDE}>;\n`)}  for (var i = 0u; i < params.LOOPS; i += 1u) {
${each((name) => `    ${name} = subgroupMatrixMultiplyAccumulate(left, right, ${name});\n`)}  }
  let own = lane / ${SUBGROUP_LANES}u * ${SIDE * SIDE}u;
  var sum = 0.0;
${each(
  (name) => `  subgroupMatrixStore<row_major>(&elements, own, ${name}, ${SIDE}u);
  workgroupBarrier();
  sum += elements[own + lane % ${SUBGROUP_LANES}u];
  workgroupBarrier();
`,
)}  y[group.x * ${LANES}u + lane] = sum;
}
`
}
