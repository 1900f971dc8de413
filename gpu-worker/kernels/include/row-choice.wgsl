// Over all tokens of one row by 256 lanes, lane t owning ids t, t + 256, …: the best of them, and sums in one tree: 16
// lanes ascending, 16 sums ascending. Who includes this has FAN = 16 in its Params. Barriers inside; a second use of the
// same function needs one between.
const LANES = 256u;
const NO_ID = 0xffffffffu;

var<workgroup> lane_sums: array<vec4<f32>, LANES>;
var<workgroup> group_sums: array<vec4<f32>, 16>;
var<workgroup> lane_best: array<vec2<u32>, LANES>;
var<workgroup> group_best: array<vec2<u32>, 16>;
var<workgroup> whole_sum: vec4<f32>;

// Order-preserving: a < b exactly when key_of(a) < key_of(b); −0 counts as 0.
fn key_of(value: f32) -> u32 {
  let bits = select(bitcast<u32>(value), 0u, value == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

// The higher key; of equal keys the lower id.
fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}

fn best_of_all(mine: vec2<u32>, lane: u32) -> vec2<u32> {
  lane_best[lane] = mine;
  workgroupBarrier();
  if (lane < params.FAN) {
    var best = lane_best[lane * params.FAN];
    for (var i = 1u; i < params.FAN; i += 1u) {
      best = better(best, lane_best[lane * params.FAN + i]);
    }
    group_best[lane] = best;
  }
  workgroupBarrier();
  var best = group_best[0];
  for (var i = 1u; i < params.FAN; i += 1u) {
    best = better(best, group_best[i]);
  }
  return best;
}

// Lane 0 alone adds the last 16: on a CPU, 256 lanes doing so cost more than all the rest of a round.
fn sum_of_all(mine: vec4<f32>, lane: u32) -> vec4<f32> {
  lane_sums[lane] = mine;
  workgroupBarrier();
  if (lane < params.FAN) {
    var sum = lane_sums[lane * params.FAN];
    for (var i = 1u; i < params.FAN; i += 1u) {
      sum += lane_sums[lane * params.FAN + i];
    }
    group_sums[lane] = sum;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var sum = group_sums[0];
    for (var i = 1u; i < params.FAN; i += 1u) {
      sum += group_sums[i];
    }
    whole_sum = sum;
  }
  return workgroupUniformLoad(&whole_sum);
}
