// Group-limited routing of one row:
//
//   p_e = sigmoid(logit_e);  c_e = p_e + bias_e;  group score = sum of the two highest c of the group
//   keep the GROUPS_KEPT best groups, then the TOP best c among them (equal: the lower number first), in rank order
//   weight = p (without bias) [/ (Σ p + 1e-20) when NORMALISE] · SCALING
//
//   logits   f32 [rows, X_STRIDE]: EXPERTS values from X_OFFSET, read; before them a shared expert's that lies apart,
//            read and written (shared-hidden.wgsl)
//   bias     f32 [EXPERTS], read: zeros when the model has none
//   chosen   u32 [rows, PAIRS], write: expert numbers, highest c first; with a shared expert PAIRS is TOP + 1, and the
//            last is that one's number, EXPERTS
//   weights  f32 [rows, PAIRS], write: a shared expert's is 1
//
// One workgroup: one row; its lanes, as many as the adapter likes, stride over experts and groups; ranks are counted, not
// sorted, so no order of lanes enters. A NaN counts as −∞, so expert numbers stay in range.
// Grid: x = rows, y = 1 for the choice, then the tiles of a shared expert.
// Rounds: sigmoid (exp.wgsl), p + bias, each sum (in rank order), quotient, product.
struct Params {
  PAIRS: u32,
  GROUPS_KEPT: u32,
  X_STRIDE: u32,
  X_OFFSET: u32,
  NORMALISE: u32,
  SHARED: u32,
  SCALING: f32,
}

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  if (group.y > 0u) {
    shared_hidden(group.x, group.y - 1u, lane);
  } else {
    route_rows(group.x, 1u, lane);
  }
}
