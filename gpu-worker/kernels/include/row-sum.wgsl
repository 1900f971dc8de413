// The one tree of a row's sum of squares. Quad q of a row belongs to strand q % 64, which adds its squares by fma in
// ascending order; strands i, i + 8, … i + 56 in order make eighth i, and the eighths in order the sum.
//
// Here a lane is a strand: for GPUs. Every lane gets the same sum. A second use in one shader needs a barrier before it.
const LANES = 64u;
const STRANDS = 64u;

var<workgroup> strand_sums: array<f32, 64>;
var<workgroup> eighth_sums: array<f32, 8>;

// `sum`: of the lane's strand.
fn row_sum(lane: u32, sum: f32) -> f32 {
  strand_sums[lane] = sum;
  workgroupBarrier();
  if (lane < 8u) {
    var eighth = strand_sums[lane];
    for (var i = 8u; i < 64u; i += 8u) {
      eighth += strand_sums[lane + i];
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
