// The shape of a block of many activation rows and what a lane has of its products, however they were made.
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
