// What every shader of a product y = x · Wᵀ is given.
//
//   x        f32 [ROWS_MAX, X_STRIDE] as vec4, read: K values a row, the rest is padding
//   weights  one window of row records [ROWS_IN_WINDOW, K], read
//   y        f32 [ROWS_MAX, Y_STRIDE], write: columns Y_OFFSET … Y_OFFSET + ROWS_IN_WINDOW − 1
struct Params {
  K: u32,
  X_VECTORS: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  ROWS_IN_WINDOW: u32,
  Y_STRIDE: u32,
  Y_OFFSET: u32,
  ROWS_MAX: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
