// row-sum.wgsl's tree where a lane is an eighth: for CPUs, whose lanes come eight at a time and wait badly for others, and
// for GPUs with small workgroups.
//
// Every lane gets the same sum. A second use in one shader needs a barrier before it.
const LANES = 8u;
const STRANDS = 512u;

var<workgroup> eighth_sums: array<f32, 8>;

// `sum`: of the lane's strands, in order.
fn row_sum(lane: u32, sum: f32) -> f32 {
  eighth_sums[lane] = sum;
  workgroupBarrier();
  var total = eighth_sums[0];
  for (var i = 1u; i < 8u; i += 1u) {
    total += eighth_sums[i];
  }
  return total;
}
