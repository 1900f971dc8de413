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
//   logits    f32 [sequences, STRIDE], read: VOCAB values a row
//   samplers  16 × u32 [sequences], read: see step-input.ts
//   sampled   u32 [sequences], write: a token id, or NOT_FINITE when any logit is NaN or infinite, or all are LOWEST
//
// A logit that is LOWEST stands for a token that may not be chosen. A forced token is taken in any case of finite logits.
//
// One workgroup: one sequence; owner t owns ids t, t + 256, … Borders are found on order-preserving u32 keys, two bits a
// round, by counts and masses; every sum is one tree: an owner's ids ascending, 16 owners ascending, 16 sums ascending.
// Grid: x = sequences. Rounds: (logit − max), its product, exp.wgsl, log.wgsl, the sums.

const NOT_FINITE = 0xffffffffu;
// key_of(LOWEST), the lowest finite f32.
const LOWEST_KEY = 0x00800000u;
// 2^-32
const PER_HASH = 2.3283064e-10;

struct Params {
  VOCAB: u32,
  STRIDE: u32,
  BORDERS: u32,
  ROUNDS: u32,
  FAN: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
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

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var row: Row;
  row.base = group.x * params.STRIDE;
  // Apart from `row`, so that compilers see it is every lane's.
  let sampler = samplers[group.x];
  row.sampler = sampler;
  var finite = true;
  var best = vec2<u32>(0u, NO_ID);
  for (var turn = 0u; turn < OWNERS_EACH; turn += 1u) {
    for (var id = owner_of(turn, lane); id < params.VOCAB; id += OWNERS) {
      let logit = logits[row.base + id];
      finite = finite && (bitcast<u32>(logit) & 0x7f800000u) != 0x7f800000u;
      best = better(best, vec2<u32>(key_of(logit), id));
    }
  }
  // Lanes that met a number that is none, and lanes that met a token to choose.
  let mine = vec4<f32>(select(1.0, 0.0, finite), select(0.0, 1.0, best.x > LOWEST_KEY), 0.0, 0.0);
  let met = sum_of_all(grown(Tree(), 0u, mine), lane);
  best = best_of_all(best, lane);
  let is_forced = sampler.forced != NO_ID;
  let is_broken = met.x > 0.0 || (met.y == 0.0 && !is_forced);
  if (is_broken || is_forced || sampler.inverse_temperature == 0.0) {
    if (lane == 0u) {
      sampled[group.x] = select(select(best.y, sampler.forced, is_forced), NOT_FINITE, is_broken);
    }
    return;
  }
  row.highest = logits[row.base + best.y];
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
    for (var id = owner_of(turn, lane); id < params.VOCAB; id += OWNERS) {
      let logit = logits[row.base + id];
      let mass = mass_of(row, logit);
      if (is_kept(row, key_of(logit), id) && mass >= row.sampler.min_p) {
        let score = fma(logit - row.highest, row.sampler.inverse_temperature, gumbel(row.sampler, id));
        winner = better(winner, vec2<u32>(key_of(score), id));
      }
    }
  }
  winner = best_of_all(winner, lane);
  if (lane == 0u) {
    sampled[group.x] = winner.y;
  }
}

fn is_wanted(sampler: Sampler, by_mass: bool) -> bool {
  return select(sampler.top_k > 0u && sampler.top_k < params.VOCAB, sampler.top_p < 1.0, by_mass);
}

// Among the kept tokens, the highest border — then the lowest last id — with which their number still reaches top_k,
// or their mass top_p of all their mass. Round 0 takes that whole; then 16 rounds find the border, the others the last
// id, whose bits they cover.
fn narrowed(row: Row, by_mass: bool, lane: u32) -> Row {
  var goal = f32(row.sampler.top_k);
  var border = 0u;
  // Ids at the border below this one do not reach the goal; the one here does.
  var last_id = 0u;
  for (var round = 0u; round < params.ROUNDS; round += 1u) {
    let for_border = round <= 16u;
    let shift = (select(2u * (params.ROUNDS - 1u), 32u, for_border) - 2u * round) & 31u;
    let digits = select(vec3<u32>(1u, 2u, 3u) << vec3<u32>(shift), vec3<u32>(0u), round == 0u);
    let steps = vec3<u32>(select(last_id, border, for_border)) | digits;
    var tree = Tree();
    for (var turn = 0u; turn < OWNERS_EACH; turn += 1u) {
      var sums = vec4<f32>(0.0);
      for (var id = owner_of(turn, lane); id < params.VOCAB; id += OWNERS) {
        let logit = logits[row.base + id];
        let key = key_of(logit);
        if (is_kept(row, key, id) && key >= border) {
          let amount = select(1.0, mass_of(row, logit), by_mass);
          let above = select((vec3<u32>(id) < steps) | vec3<bool>(key > border), vec3<u32>(key) >= steps, for_border);
          sums += select(vec4<f32>(0.0), vec4<f32>(amount), vec4<bool>(above, false));
        }
      }
      tree = grown(tree, turn, sums);
    }
    let reached = sum_of_all(tree, lane).xyz;
    if (round == 0u) {
      // Above 0, so that the likeliest token always stays.
      goal = select(goal, max(row.sampler.top_p * reached.x, 1e-30), by_mass);
    } else if (for_border) {
      border = last_where(reached >= vec3<f32>(goal), steps, border);
    } else {
      last_id = last_where(reached < vec3<f32>(goal), steps, last_id);
    }
  }
  var result = row;
  // Below it when all kept tokens together do not reach the goal: then all of them stay.
  if (border >= row.border) {
    result.border = border;
    result.last_id = last_id;
  }
  return result;
}

// `claims` hold for the first steps and not for the later ones.
fn last_where(claims: vec3<bool>, steps: vec3<u32>, otherwise: u32) -> u32 {
  return select(select(select(otherwise, steps.x, claims.x), steps.y, claims.y), steps.z, claims.z);
}

// Likelihood relative to the likeliest token.
fn mass_of(row: Row, logit: f32) -> f32 {
  return exp_exact((logit - row.highest) * row.sampler.inverse_temperature);
}

fn is_kept(row: Row, key: u32, id: u32) -> bool {
  return key > row.border || (key == row.border && id <= row.last_id);
}

// −ln(−ln(1 − v)) for v uniform in (0, 1); small v, the likely winners, keep all 32 bits of the hash.
fn gumbel(sampler: Sampler, id: u32) -> f32 {
  let count = f32(hash(vec4<u32>(sampler.seed, sampler.index, id))) + 0.5;
  let v = count * PER_HASH;
  var e = fma(v * v, fma(v, 0.33333334, 0.5), v);
  if (v > 0.0009765625) {
    e = -log_exact(max(fma(-count, PER_HASH, 1.0), 5.9604645e-8));
  }
  return -log_exact(e);
}

// pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering" (2020); first word.
fn hash(input: vec4<u32>) -> u32 {
  var v = input * 1664525u + 1013904223u;
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  v ^= v >> vec4<u32>(16u);
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  return v.x;
}
