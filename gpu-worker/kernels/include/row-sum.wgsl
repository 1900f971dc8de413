// The one tree of a row's sum of squares. Quad q of a row belongs to strand q % 512, which adds its squares by fma in
// ascending order; strands i, i + 8, … i + 504 in order make eighth i, and the eighths in order the sum.
//
// Here a lane is a strand: for GPUs. Every lane gets the same sum. A second use in one shader needs a barrier before it.
const LANES = 512u;
const STRANDS = 512u;
// Of an eighth, and one more between eighths: so their lanes read from different banks.
const EIGHTH = 65u;

var<workgroup> strand_sums: array<f32, 520>;
var<workgroup> eighth_sums: array<f32, 8>;

// `sum`: of the lane's strand.
fn row_sum(lane: u32, sum: f32) -> f32 {
  strand_sums[lane % 8u * EIGHTH + lane / 8u] = sum;
  workgroupBarrier();
  if (lane < 8u) {
    var eighth = 0.0;
    // Four together: a lane that waits for each alone waits most of the time.
    for (var i = lane * EIGHTH; i < (lane + 1u) * EIGHTH - 1u; i += 4u) {
      let four = vec4<f32>(strand_sums[i], strand_sums[i + 1u], strand_sums[i + 2u], strand_sums[i + 3u]);
      eighth += four.x;
      eighth += four.y;
      eighth += four.z;
      eighth += four.w;
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
