// Log probabilities under the logits as they are, before temperature, penalties and masks:
//
//   log p(id) = (logit − max) − ln Σ exp(logit − max)
//
//   logits    f32 [sequences, VECTORS] as vec4, read: VOCAB values a row
//   samplers  16 × u32 [sequences], read: of them `logprobs`: 0 for none, else one more than how many of the likeliest
//   sampled   u32 [SEQUENCES] the tokens chosen, read; behind them vec2 (id, log p as f32) [sequences, ENTRIES], write:
//             the chosen token, then the likeliest in order, the lower id first among equals
//
// One workgroup: one sequence; row-order.wgsl says who owns which tokens. Each of the likeliest is one more search for the
// best behind the last. Rows that ask for none, and those without a token, write nothing. Grid: x = sequences.
// Rounds: (logit − max), exp.wgsl, the sums, log.wgsl, the difference.
const NOT_FINITE = 0xffffffffu;

struct Params {
  VOCAB: u32,
  VECTORS: u32,
  SEQUENCES: u32,
  ENTRIES: u32,
  FAN: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> samplers: array<Sampler>;
@group(0) @binding(2) var<storage, read_write> sampled: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let wanted = samplers[group.x].logprobs;
  if (wanted == 0u) {
    return;
  }
  let base = group.x * params.VECTORS;
  let at = params.SEQUENCES + group.x * params.ENTRIES * 2u;
  var best = best_behind(base, vec2<u32>(NO_ID, 0u), lane);
  let highest = logit_at(base, best.y);
  var owned = 0.0;
  for (var strand = lane; strand < STRANDS; strand += STRAND_STEP) {
    var sum = 0.0;
    for (var quad = strand; 4u * quad < params.VOCAB; quad += 4u * STRANDS) {
      let values = ahead(base, quad);
      sum = with_powers(sum, values.a, highest);
      if (!is_last(quad)) {
        sum = with_powers(sum, values.b, highest);
        sum = with_powers(sum, values.c, highest);
        sum = with_powers(sum, values.d, highest);
      }
    }
    owned += sum;
  }
  let log_sum = log_exact(sum_of_all(grown(Tree(), 0u, vec4<f32>(owned, 0.0, 0.0, 0.0)), lane).x);
  let chosen = sampled[group.x];
  if (lane == 0u && chosen != NOT_FINITE) {
    keep(at, chosen, (logit_at(base, chosen) - highest) - log_sum);
  }
  for (var rank = 1u; rank < min(wanted, params.ENTRIES); rank += 1u) {
    if (lane == 0u && best.y < params.VOCAB) {
      keep(at + 2u * rank, best.y, (logit_at(base, best.y) - highest) - log_sum);
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
  for (var strand = lane; strand < STRANDS; strand += STRAND_STEP) {
    for (var quad = strand; 4u * quad < params.VOCAB; quad += 4u * STRANDS) {
      let values = ahead(base, quad);
      best = better_behind(best, last, values.a, quad);
      if (!is_last(quad)) {
        best = better_behind(best, last, values.b, quad + STRANDS);
        best = better_behind(best, last, values.c, quad + 2u * STRANDS);
        best = better_behind(best, last, values.d, quad + 3u * STRANDS);
      }
    }
  }
  return best_of_all(best, lane);
}

fn better_behind(best: vec2<u32>, last: vec2<u32>, values: vec4<f32>, quad: u32) -> vec2<u32> {
  var found = best;
  for (var i = 0u; i < 4u; i += 1u) {
    let own = vec2<u32>(key_of(values[i]), 4u * quad + i);
    if (own.y < params.VOCAB && (own.x < last.x || (own.x == last.x && own.y > last.y))) {
      found = better(found, own);
    }
  }
  return found;
}

// Behind the vocabulary exp(LOWEST − max), which is 0.
fn with_powers(sum: f32, values: vec4<f32>, highest: f32) -> f32 {
  let powers = exp_each(values - vec4<f32>(highest));
  return sum + powers.x + powers.y + powers.z + powers.w;
}

fn logit_at(base: u32, id: u32) -> f32 {
  let at = min(id, params.VOCAB - 1u);
  return logits[base + at / 4u][at % 4u];
}
