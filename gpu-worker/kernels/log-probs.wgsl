// Log probabilities under the logits as they are, before temperature, penalties and masks:
//
//   log p(id) = (logit − max) − ln Σ exp(logit − max)
//
//   logits    f32 [sequences, STRIDE], read: VOCAB values a row
//   samplers  16 × u32 [sequences], read: of them `logprobs`: 0 for none, else one more than how many of the likeliest
//   sampled   u32 [SEQUENCES] the tokens chosen, read; behind them vec2 (id, log p as f32) [sequences, ENTRIES], write:
//             the chosen token, then the likeliest in order, the lower id first among equals
//
// One workgroup: one sequence; lane t owns ids t, t + 256, … Each of the likeliest is one more search for the best behind
// the last. Rows that ask for none, and those without a token, write nothing. Grid: x = sequences.
// Rounds: (logit − max), exp.wgsl, the sums, log.wgsl, the difference.
const NOT_FINITE = 0xffffffffu;

struct Params {
  VOCAB: u32,
  STRIDE: u32,
  SEQUENCES: u32,
  ENTRIES: u32,
  FAN: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> samplers: array<Sampler>;
@group(0) @binding(2) var<storage, read_write> sampled: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let wanted = samplers[group.x].logprobs;
  if (wanted == 0u) {
    return;
  }
  let base = group.x * params.STRIDE;
  let at = params.SEQUENCES + group.x * params.ENTRIES * 2u;
  var best = best_behind(base, vec2<u32>(NO_ID, 0u), lane);
  let highest = logits[base + min(best.y, params.VOCAB - 1u)];
  var sum = 0.0;
  for (var id = lane; id < params.VOCAB; id += OWNERS) {
    sum += exp_exact(logits[base + id] - highest);
  }
  let log_sum = log_exact(sum_of_all(grown(Tree(), 0u, vec4<f32>(sum, 0.0, 0.0, 0.0)), lane).x);
  let chosen = sampled[group.x];
  if (lane == 0u && chosen != NOT_FINITE) {
    keep(at, chosen, (logits[base + chosen] - highest) - log_sum);
  }
  for (var rank = 1u; rank < min(wanted, params.ENTRIES); rank += 1u) {
    if (lane == 0u && best.y < params.VOCAB) {
      keep(at + 2u * rank, best.y, (logits[base + best.y] - highest) - log_sum);
    }
    workgroupBarrier();
    best = best_behind(base, best, lane);
  }
}

fn keep(at: u32, id: u32, log_prob: f32) {
  sampled[at] = id;
  sampled[at + 1u] = bitcast<u32>(log_prob);
}

// The best token that comes after `last` (its key, its id) in the order of likelihood; NO_ID when none does.
fn best_behind(base: u32, last: vec2<u32>, lane: u32) -> vec2<u32> {
  var best = vec2<u32>(0u, NO_ID);
  for (var id = lane; id < params.VOCAB; id += OWNERS) {
    let own = vec2<u32>(key_of(logits[base + id]), id);
    if (own.x < last.x || (own.x == last.x && own.y > last.y)) {
      best = better(best, own);
    }
  }
  return best_of_all(best, lane);
}
