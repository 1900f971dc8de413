// What one dispatch costs: each adds 1, so that none can run before the one ahead.
//
//   counter  u32 [1], read and write
@group(0) @binding(0) var<storage, read_write> counter: array<u32>;

@compute @workgroup_size(1)
fn main() {
  counter[0] += 1u;
}
