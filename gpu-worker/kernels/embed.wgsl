// x[r, i] = table[token of row r, i]; a row that is fed has for its token what the step before sampled
//
//   rows     vec4<u32> [rows] (token id, position, first block-table entry, 0 or 1 + its place in `sampled`), read
//   sampled  u32 [sequences, ..] of the step before, read
//   table    one window of the embedding, row records [ROWS_IN_WINDOW, WIDTH], read
//   x        f32 [rows, X_STRIDE], write
//
// One invocation: one value; a row whose token lies in another window is left to that window's dispatch. Where the logits
// were not finite the fed token is none: no window has it, and what its row computes is nobody's.
// Grid: x = WIDTH / 64, y = rows. Exact.
struct Params {
  WIDTH: u32,
  W_VECTORS: u32,
  W_SCALES: u32,
  W_ZEROS: u32,
  W_GROUP: u32,
  W_LAST_GROUP: u32,
  ROW_START: u32,
  ROWS_IN_WINDOW: u32,
  X_STRIDE: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> sampled: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * 64u + lane;
  let row = group.y;
  let record = rows[row];
  var token = record.x;
  if (record.w > 0u) {
    token = sampled[record.w - 1u];
  }
  if (i >= params.WIDTH || token < params.ROW_START || token - params.ROW_START >= params.ROWS_IN_WINDOW) {
    return;
  }
  x[row * params.X_STRIDE + i] = weight_at(&table, (token - params.ROW_START) * params.W_VECTORS, i);
}
