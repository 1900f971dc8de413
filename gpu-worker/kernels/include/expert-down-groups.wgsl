// What every shader of the routed experts' second product for groups of pairs is given.
//
//   groups  as expert-groups.wgsl leaves it, read: pair = row · TOP + rank
//   places  vec2<u32> [EXPERTS], read: (bank, slot) of each expert of this layer
//   h       f32 [pairs, H_STRIDE] as vec4, read
//   down    one bank of row records [slots, WIDTH, K], read
//   y       f32 [pairs, Y_STRIDE], write
struct Params {
  K: u32,
  WIDTH: u32,
  TOP: u32,
  BANK: u32,
  PAIRS_AT: u32,
  H_VECTORS: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  Y_STRIDE: u32,
}

@group(0) @binding(0) var<storage, read> groups: array<u32>;
@group(0) @binding(1) var<storage, read> places: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> down: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
