// The next token of each sampled sequence, a pure function of (its logits, its sampler record):
//
//   inverse_temperature = 0:  the highest logit, the lowest id among equals
//   else                      argmax over kept tokens of (logit − max) · inverse_temperature + Gumbel(seed, index, id)
//
//   kept, in this order: the top_k highest logits (0: all); of those the smallest set of likeliest tokens whose mass
//   reaches top_p of theirs; of those the tokens at least min_p times as likely as the likeliest. Among equal logits at
//   a border the lower ids stay.
//   Temperature comes before all of it and the order is transformers' (LogitsProcessorList: temperature, top k, top p,
//   min p); vLLM takes min p before top p. Unlike both, equals at the border of top k never exceed k.
//
//   logits    f32 [sequences, VECTORS] as vec4, read: VOCAB values a row
//   samplers  16 × u32 [sequences], read: see step-input.ts
//   sampled   u32 [sequences], write: a token id, or NOT_FINITE when any logit is NaN or infinite, or all are LOWEST
//
// A logit that is LOWEST stands for a token that may not be chosen. A forced token is taken in any case of finite logits.
//
// One workgroup: one sequence; row-order.wgsl says who owns which tokens. Borders are found on order-preserving u32 keys, two
// bits a round, by counts and masses; every sum is the one tree of row-choice.wgsl. Grid: x = sequences.
// Rounds: (logit − max), its product, exp.wgsl, log.wgsl, the sums.

const NOT_FINITE = 0xffffffffu;
// key_of(LOWEST), the lowest finite f32.
const LOWEST_KEY = 0x00800000u;
// As bits.
const INFINITY = 0x7f800000u;
struct Params {
  VOCAB: u32,
  VECTORS: u32,
  BORDERS: u32,
  ROUNDS: u32,
  FAN: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> samplers: array<Sampler>;
@group(0) @binding(2) var<storage, read_write> sampled: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

// What every lane knows about the row.
struct Row {
  base: u32,
  highest: f32,
  sampler: Sampler,
  // Tokens above `border`, and of those at it the ids up to `last_id`, are kept.
  border: u32,
  last_id: u32,
}

// Of a strand's tokens met so far, those of each place in a quad apart: the highest key and the first quad that has it;
// and of all the highest number without its sign.
struct Met {
  keys: vec4<u32>,
  quads: vec4<u32>,
  numbers: vec4<u32>,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var row: Row;
  row.base = group.x * params.VECTORS;
  // Apart from `row`, so that compilers see it is every lane's.
  let sampler = samplers[group.x];
  row.sampler = sampler;
  var best = vec2<u32>(0u, NO_ID);
  var numbers = vec4<u32>();
  for (var turn = 0u; turn < OWNERS_EACH; turn += 1u) {
    for (var strand = owner_of(turn, lane); strand < STRANDS; strand += STRAND_STEP) {
      var met = Met(vec4<u32>(), vec4<u32>(), numbers);
      for (var quad = strand; 4u * quad < params.VOCAB; quad += QUADS_AHEAD * STRANDS) {
        let values = ahead(row.base, quad);
        met = with_quad(met, values.a, quad);
        if (QUADS_AHEAD > 1u && !is_last(quad)) {
          met = with_quad(met, values.b, quad + STRANDS);
          met = with_quad(met, values.c, quad + 2u * STRANDS);
          met = with_quad(met, values.d, quad + 3u * STRANDS);
        }
      }
      best = better(best, best_of(met));
      numbers = met.numbers;
    }
  }
  // Lanes that met a number that is none, and lanes that met a token to choose.
  let is_odd = any(numbers >= vec4<u32>(INFINITY));
  let lanes = sum_of_all(grown(Tree(), 0u, vec4<f32>(f32(is_odd), f32(best.x > LOWEST_KEY), 0.0, 0.0)), lane);
  best = best_of_all(best, lane);
  let is_forced = sampler.forced != NO_ID;
  let is_broken = lanes.x > 0.0 || (lanes.y == 0.0 && !is_forced);
  if (is_broken || is_forced || sampler.inverse_temperature == 0.0) {
    if (lane == 0u) {
      sampled[group.x] = select(select(best.y, sampler.forced, is_forced), NOT_FINITE, is_broken);
    }
    return;
  }
  row.highest = logits[row.base + best.y / 4u][best.y % 4u];
  row.border = LOWEST_KEY + 1u;
  row.last_id = NO_ID;
  // First by count, then by mass: one body for both, since its text is long and compilers are slow.
  for (var by_mass = 0u; by_mass < params.BORDERS; by_mass += 1u) {
    if (is_wanted(sampler, by_mass != 0u)) {
      row = narrowed(row, by_mass != 0u, lane);
    }
  }
  var winner = vec2<u32>(0u, NO_ID);
  for (var turn = 0u; turn < OWNERS_EACH; turn += 1u) {
    for (var strand = owner_of(turn, lane); strand < STRANDS; strand += STRAND_STEP) {
      for (var quad = strand; 4u * quad < params.VOCAB; quad += QUADS_AHEAD * STRANDS) {
        let values = ahead(row.base, quad);
        winner = winner_with(winner, row, values.a, quad);
        if (QUADS_AHEAD > 1u && !is_last(quad)) {
          winner = winner_with(winner, row, values.b, quad + STRANDS);
          winner = winner_with(winner, row, values.c, quad + 2u * STRANDS);
          winner = winner_with(winner, row, values.d, quad + 3u * STRANDS);
        }
      }
    }
  }
  winner = best_of_all(winner, lane);
  if (lane == 0u) {
    sampled[group.x] = winner.y;
  }
}

fn with_quad(met: Met, values: vec4<f32>, quad: u32) -> Met {
  let keys = keys_of(values);
  let is_more = keys > met.keys;
  let numbers = max(met.numbers, bitcast<vec4<u32>>(values) & vec4<u32>(0x7fffffffu));
  return Met(max(keys, met.keys), select(met.quads, vec4<u32>(quad), is_more), numbers);
}

fn best_of(met: Met) -> vec2<u32> {
  let ids = 4u * met.quads + vec4<u32>(0u, 1u, 2u, 3u);
  let left = better(vec2<u32>(met.keys.x, ids.x), vec2<u32>(met.keys.y, ids.y));
  return better(left, better(vec2<u32>(met.keys.z, ids.z), vec2<u32>(met.keys.w, ids.w)));
}

fn winner_with(winner: vec2<u32>, row: Row, values: vec4<f32>, quad: u32) -> vec2<u32> {
  let keys = keys_of(values);
  if (all(keys < vec4<u32>(row.border))) {
    return winner;
  }
  let first = better(scored(row, values.x, keys.x, 4u * quad), scored(row, values.y, keys.y, 4u * quad + 1u));
  let last = better(scored(row, values.z, keys.z, 4u * quad + 2u), scored(row, values.w, keys.w, 4u * quad + 3u));
  return better(winner, better(first, last));
}

// A token's key with its noise, and its id; what is not kept is not better than anything.
fn scored(row: Row, logit: f32, key: u32, id: u32) -> vec2<u32> {
  if (!is_kept(row, key, id) || mass_of(row, logit) < row.sampler.min_p) {
    return vec2<u32>(0u, NO_ID);
  }
  let score = fma(logit - row.highest, row.sampler.inverse_temperature, gumbel(row.sampler, id));
  return vec2<u32>(key_of(score), id);
}

// Likelihood relative to the likeliest token.
fn mass_of(row: Row, logit: f32) -> f32 {
  return exp_exact((logit - row.highest) * row.sampler.inverse_temperature);
}

fn is_kept(row: Row, key: u32, id: u32) -> bool {
  return key > row.border || (key == row.border && id <= row.last_id);
}
