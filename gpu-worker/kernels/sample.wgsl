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
// One workgroup: one sequence; owner t owns quads t, t + 256, … of four ids. Borders are found on order-preserving u32 keys,
// two bits a round, by counts and masses; every sum is one tree: an owner's ids ascending, 16 owners ascending, 16 sums
// ascending. Grid: x = sequences. Rounds: (logit − max), its product, exp.wgsl, log.wgsl, the sums.

const NOT_FINITE = 0xffffffffu;
// key_of(LOWEST), the lowest finite f32.
const LOWEST_KEY = 0x00800000u;
// Of `narrowed`: the rounds that find a border, two bits each; the one behind them counts the tokens at it.
const BORDER_ROUNDS = 16u;
const COUNT_ROUND = 17u;

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

// Of the tokens met so far.
struct Met {
  best: vec2<u32>,
  is_finite: bool,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var row: Row;
  row.base = group.x * params.VECTORS;
  // Apart from `row`, so that compilers see it is every lane's.
  let sampler = samplers[group.x];
  row.sampler = sampler;
  var met = Met(vec2<u32>(0u, NO_ID), true);
  for (var turn = 0u; turn < OWNERS_EACH; turn += 1u) {
    for (var quad = owner_of(turn, lane); 4u * quad < params.VOCAB; quad += QUADS_AHEAD * OWNERS) {
      let values = ahead(row.base, quad);
      met = with_quad(met, values.a, quad);
      if (QUADS_AHEAD > 1u && !is_last(quad)) {
        met = with_quad(met, values.b, quad + OWNERS);
        met = with_quad(met, values.c, quad + 2u * OWNERS);
        met = with_quad(met, values.d, quad + 3u * OWNERS);
      }
    }
  }
  // Lanes that met a number that is none, and lanes that met a token to choose.
  let mine = vec4<f32>(select(1.0, 0.0, met.is_finite), select(0.0, 1.0, met.best.x > LOWEST_KEY), 0.0, 0.0);
  let lanes = sum_of_all(grown(Tree(), 0u, mine), lane);
  let best = best_of_all(met.best, lane);
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
    for (var quad = owner_of(turn, lane); 4u * quad < params.VOCAB; quad += QUADS_AHEAD * OWNERS) {
      let values = ahead(row.base, quad);
      winner = winner_with(winner, row, values.a, quad);
      if (QUADS_AHEAD > 1u && !is_last(quad)) {
        winner = winner_with(winner, row, values.b, quad + OWNERS);
        winner = winner_with(winner, row, values.c, quad + 2u * OWNERS);
        winner = winner_with(winner, row, values.d, quad + 3u * OWNERS);
      }
    }
  }
  winner = best_of_all(winner, lane);
  if (lane == 0u) {
    sampled[group.x] = winner.y;
  }
}

fn with_quad(met: Met, values: vec4<f32>, quad: u32) -> Met {
  let exponents = bitcast<vec4<u32>>(values) & vec4<u32>(0x7f800000u);
  var best = met.best;
  for (var i = 0u; i < 4u; i += 1u) {
    best = better(best, vec2<u32>(key_of(values[i]), 4u * quad + i));
  }
  return Met(best, met.is_finite && all(exponents != vec4<u32>(0x7f800000u)));
}

fn winner_with(winner: vec2<u32>, row: Row, values: vec4<f32>, quad: u32) -> vec2<u32> {
  var best = winner;
  for (var i = 0u; i < 4u; i += 1u) {
    let id = 4u * quad + i;
    if (is_kept(row, key_of(values[i]), id) && mass_of(row, values[i]) >= row.sampler.min_p) {
      let score = fma(values[i] - row.highest, row.sampler.inverse_temperature, gumbel(row.sampler, id));
      best = better(best, vec2<u32>(key_of(score), id));
    }
  }
  return best;
}

fn is_wanted(sampler: Sampler, by_mass: bool) -> bool {
  return select(sampler.top_k > 0u && sampler.top_k < params.VOCAB, sampler.top_p < 1.0, by_mass);
}

// What a round of `narrowed` asks of a token: which steps it counts for, and by how much.
struct Question {
  by_mass: bool,
  round: u32,
  border: u32,
  steps: vec3<u32>,
}

// Among the kept tokens, the highest border — then the lowest last id — with which their number still reaches top_k,
// or their mass top_p of all their mass. Round 0 takes that whole; then 16 rounds find the border; one counts the tokens at
// it; where they are several the others find the last id, whose bits they cover.
fn narrowed(row: Row, by_mass: bool, lane: u32) -> Row {
  var goal = f32(row.sampler.top_k);
  var border = 0u;
  // Ids at the border below this one do not reach the goal; the one here does.
  var last_id = 0u;
  for (var round = 0u; round < params.ROUNDS; round += 1u) {
    let for_border = round <= BORDER_ROUNDS;
    let shift = (select(2u * (params.ROUNDS - 1u), 32u, for_border) - 2u * round) & 31u;
    let digits = select(vec3<u32>(1u, 2u, 3u) << vec3<u32>(shift), vec3<u32>(0u), round == 0u);
    let steps = vec3<u32>(select(last_id, border, for_border)) | digits;
    let question = Question(by_mass && round != COUNT_ROUND, round, border, steps);
    var tree = Tree();
    for (var turn = 0u; turn < OWNERS_EACH; turn += 1u) {
      var sums = vec4<f32>(0.0);
      for (var quad = owner_of(turn, lane); 4u * quad < params.VOCAB; quad += QUADS_AHEAD * OWNERS) {
        let values = ahead(row.base, quad);
        sums = sums_with(sums, row, question, values.a, quad);
        if (QUADS_AHEAD > 1u && !is_last(quad)) {
          sums = sums_with(sums, row, question, values.b, quad + OWNERS);
          sums = sums_with(sums, row, question, values.c, quad + 2u * OWNERS);
          sums = sums_with(sums, row, question, values.d, quad + 3u * OWNERS);
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
    } else if (round > COUNT_ROUND) {
      last_id = last_where(reached < vec3<f32>(goal), steps, last_id);
    } else if (reached.x == 1.0) {
      last_id = NO_ID;
      break;
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

fn sums_with(sums: vec4<f32>, row: Row, question: Question, values: vec4<f32>, quad: u32) -> vec4<f32> {
  var total = sums;
  for (var i = 0u; i < 4u; i += 1u) {
    let key = key_of(values[i]);
    let id = 4u * quad + i;
    if (is_kept(row, key, id) && key >= question.border) {
      var amount = 1.0;
      if (question.by_mass) {
        amount = mass_of(row, values[i]);
      }
      let above = counts_for(question, key, id);
      total += select(vec4<f32>(0.0), vec4<f32>(amount), vec4<bool>(above, false));
    }
  }
  return total;
}

fn counts_for(question: Question, key: u32, id: u32) -> vec3<bool> {
  if (question.round <= BORDER_ROUNDS) {
    return vec3<u32>(key) >= question.steps;
  }
  let at_border = vec3<bool>(key == question.border);
  return select((vec3<u32>(id) < question.steps) | !at_border, at_border, question.round == COUNT_ROUND);
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
