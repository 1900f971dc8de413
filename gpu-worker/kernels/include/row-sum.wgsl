// The one tree of a row reduction: 64 lanes' sums, lanes 4i … 4i + 3 as one vec4, the 16 vec4 in order, then the
// four components pairwise.
// One barrier inside; every lane gets the same sum. A second use in one shader needs a barrier before it.

// Scalars: lanes that wrote components of one vector would race.
var<workgroup> lane_sums: array<f32, 64>;

fn row_sum(lane: u32, sum: f32) -> f32 {
  lane_sums[lane] = sum;
  workgroupBarrier();
  var quad = vec4<f32>(lane_sums[0], lane_sums[1], lane_sums[2], lane_sums[3]);
  for (var i = 4u; i < 64u; i += 4u) {
    quad += vec4<f32>(lane_sums[i], lane_sums[i + 1u], lane_sums[i + 2u], lane_sums[i + 3u]);
  }
  return (quad.x + quad.y) + (quad.z + quad.w);
}
