// The one tree of a row reduction: 64 lanes' sums, added in order by eights, then the eight sums in order.
// Two barriers inside; every lane gets the same sum. A second use in one shader needs a barrier before it.

var<workgroup> lane_sums: array<f32, 64>;
var<workgroup> eighth_sums: array<f32, 8>;

fn row_sum(lane: u32, sum: f32) -> f32 {
  lane_sums[lane] = sum;
  workgroupBarrier();
  if (lane < 8u) {
    var eighth = lane_sums[8u * lane];
    for (var i = 1u; i < 8u; i += 1u) {
      eighth += lane_sums[8u * lane + i];
    }
    eighth_sums[lane] = eighth;
  }
  workgroupBarrier();
  var total = eighth_sums[0];
  for (var i = 1u; i < 8u; i += 1u) {
    total += eighth_sums[i];
  }
  return total;
}
