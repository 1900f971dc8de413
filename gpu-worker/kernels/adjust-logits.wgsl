// What the requests want of their logits before a token is chosen; the logits themselves stay for their logprobs:
//
//   seen (in prompt or answer)   l > 0: l / repetition;  else l · repetition
//   in the answer, n times       l − frequency · n − presence
//   bias                         l + bias
//   not allowed                  LOWEST, which the sampler never chooses
//
//   logits    f32 [sequences, STRIDE], read: VOCAB values a row
//   samplers  16 × u32 [sequences], read: see step-input.ts
//   changes   vec4<u32> (token, times in the answer, flags, bias as f32), read: a token once a sequence
//   masks     u32, read: one bit a token, the lowest first, from a sampler's `mask` on; 1 is allowed
//   adjusted  f32 [sequences, STRIDE], write
//
// One workgroup: SLICE ids of one sequence, which its lanes copy and then change where an entry names one of them.
// A row without changes or mask is copied, NaN and infinities included. Grid: x = sequences, y = VOCAB / SLICE.
// Rounds: each operation above.
const LANES = 256u;
const SLICE = 4096u;
const NONE = 0xffffffffu;
const LOWEST = -3.4028234e38;
const IS_SEEN = 1u;
const IS_BARRED = 2u;

struct Params {
  VOCAB: u32,
  STRIDE: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> samplers: array<Sampler>;
@group(0) @binding(2) var<storage, read> changes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> masks: array<u32>;
@group(0) @binding(4) var<storage, read_write> adjusted: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sampler = samplers[group.x];
  let base = group.x * params.STRIDE;
  let first = group.y * SLICE;
  let end = min(first + SLICE, params.VOCAB);
  for (var id = first + lane; id < end; id += LANES) {
    adjusted[base + id] = select(barred(logits[base + id]), logits[base + id], is_allowed(sampler, id));
  }
  storageBarrier();
  for (var i = sampler.first_change + lane; i < sampler.end_change; i += LANES) {
    let change = changes[i];
    let id = change.x;
    if (id < first || id >= end) {
      continue;
    }
    let logit = logits[base + id];
    if (is_allowed(sampler, id)) {
      let wanted = changed(logit, change, sampler);
      adjusted[base + id] = select(wanted, barred(logit), (change.z & IS_BARRED) != 0u);
    }
  }
}

fn is_allowed(sampler: Sampler, id: u32) -> bool {
  if (sampler.mask == NONE) {
    return true;
  }
  return ((masks[sampler.mask + id / 32u] >> (id % 32u)) & 1u) != 0u;
}

fn changed(logit: f32, change: vec4<u32>, sampler: Sampler) -> f32 {
  var value = logit;
  if ((change.z & IS_SEEN) != 0u) {
    value = select(logit * sampler.repetition, logit / sampler.repetition, logit > 0.0);
  }
  if (change.y > 0u) {
    value = fma(-sampler.frequency, f32(change.y), value) - sampler.presence;
  }
  return value + bitcast<f32>(change.w);
}

// A NaN or infinity must still fail its sequence.
fn barred(logit: f32) -> f32 {
  let is_finite = (bitcast<u32>(logit) & 0x7f800000u) != 0x7f800000u;
  return select(logit, LOWEST, is_finite);
}
