// The shape of a block of many activation rows and what a lane has of its products, however they were made. The kernel
// defines where rows are:
//
//   fn block_unit(block: Block, row: u32, unit: u32) -> PackedUnit    a unit of one of the block's weight rows
//   fn block_quad(block: Block, column: u32, quad: u32) -> vec4<f32>  four columns of one of its activation rows, as they lie
override ROW_LANES: u32;
override COLUMN_LANES: u32 = BLOCK_LANES / ROW_LANES;

const BLOCK_LANES = 64u;

// Sums of four weight rows with eight activation rows. By name: arrays are not sure to stay in registers.
struct Columns {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
  e: vec4<f32>,
  f: vec4<f32>,
  g: vec4<f32>,
  h: vec4<f32>,
}

// A lane's first four weight rows and its last.
struct BlockSums {
  lo: Columns,
  hi: Columns,
}

// A quad of activations; columns from `length` on are 0, whatever lies there.
fn within(values: vec4<f32>, quad: u32, length: u32) -> vec4<f32> {
  let at = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), values, at < vec4<u32>(length));
}
