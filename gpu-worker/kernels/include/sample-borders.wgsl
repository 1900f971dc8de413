// How sample.wgsl finds the borders of top k and top p: by rounds over all tokens. Works on its rows and parameters.

// Of `narrowed`: the rounds that find a border, two bits each; the one behind them counts the tokens at it.
const BORDER_ROUNDS = 16u;
const COUNT_ROUND = 17u;

fn is_wanted(sampler: Sampler, by_mass: bool) -> bool {
  return select(sampler.top_k > 0u && sampler.top_k < params.VOCAB, sampler.top_p < 1.0, by_mass);
}

// What a round of `narrowed` asks of a token: whether its key lies in the range that is left, and then which steps it counts
// for, and by how much.
struct Question {
  by_mass: bool,
  round: u32,
  // The keys of the range, less `first`, are at most `reach`.
  first: u32,
  reach: u32,
  steps: vec3<u32>,
}

// Among the kept tokens, the highest border — then the lowest last id — with which their number still reaches top_k,
// or their mass top_p of all their mass. Round 0 takes that whole; then 16 rounds find the border, each two bits of it; one
// counts the tokens at it; where they are several the others find the last id, whose bits they cover.
fn narrowed(row: Row, by_mass: bool, lane: u32) -> Row {
  var goal = f32(row.sampler.top_k);
  var border = 0u;
  // Of the tokens above the range.
  var above = 0.0;
  // Ids at the border below this one do not reach the goal; the one here does.
  var last_id = 0u;
  for (var round = 0u; round < params.ROUNDS; round += 1u) {
    let for_border = round <= BORDER_ROUNDS;
    let shift = (select(2u * (params.ROUNDS - 1u), 32u, for_border) - 2u * round) & 31u;
    let digits = select(vec3<u32>(1u, 2u, 3u) << vec3<u32>(shift), vec3<u32>(0u), round == 0u);
    let steps = vec3<u32>(select(last_id, border, for_border)) | digits;
    // Four digits of this round, all keys before it, one behind.
    let reach = select(0u, select((3u << shift) | ((1u << shift) - 1u), 0xffffffffu, round == 0u), for_border);
    let question = Question(by_mass && round != COUNT_ROUND, round, border, reach, steps);
    var tree = Tree();
    for (var turn = 0u; turn < OWNERS_EACH; turn += 1u) {
      var owned = vec4<f32>(0.0);
      for (var strand = owner_of(turn, lane); strand < STRANDS; strand += STRAND_STEP) {
        var sums = vec4<f32>(0.0);
        for (var quad = strand; 4u * quad < params.VOCAB; quad += QUADS_AHEAD * STRANDS) {
          let values = ahead(row.base, quad);
          sums = sums_with(sums, row, question, values.a, quad);
          if (QUADS_AHEAD > 1u && !is_last(quad)) {
            sums = sums_with(sums, row, question, values.b, quad + STRANDS);
            sums = sums_with(sums, row, question, values.c, quad + 2u * STRANDS);
            sums = sums_with(sums, row, question, values.d, quad + 3u * STRANDS);
          }
        }
        owned += sums;
      }
      tree = grown(tree, turn, owned);
    }
    let sums = sum_of_all(tree, lane).xyz;
    let reached = vec3<f32>(above) + sums;
    if (round == 0u) {
      // Above 0, so that the likeliest token always stays.
      goal = select(goal, max(row.sampler.top_p * sums.x, 1e-30), by_mass);
    } else if (for_border) {
      let claims = reached >= vec3<f32>(goal);
      border = last_where(claims, steps, border);
      // What counts for the step behind the border's.
      above = select(select(select(reached.x, reached.y, claims.x), reached.z, claims.y), above, claims.z);
    } else if (round > COUNT_ROUND) {
      last_id = last_where(reached < vec3<f32>(goal), steps, last_id);
    } else if (sums.x == 1.0) {
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
  let keys = keys_of(values);
  if (all(keys - vec4<u32>(question.first) > vec4<u32>(question.reach))) {
    return sums;
  }
  var total = sums;
  total += amounts_of(row, question, values.x, keys.x, 4u * quad);
  total += amounts_of(row, question, values.y, keys.y, 4u * quad + 1u);
  total += amounts_of(row, question, values.z, keys.z, 4u * quad + 2u);
  total += amounts_of(row, question, values.w, keys.w, 4u * quad + 3u);
  return total;
}

// For each step.
fn amounts_of(row: Row, question: Question, logit: f32, key: u32, id: u32) -> vec4<f32> {
  if (!is_kept(row, key, id) || key - question.first > question.reach) {
    return vec4<f32>(0.0);
  }
  var amount = 1.0;
  if (question.by_mass) {
    amount = mass_of(row, logit);
  }
  let by_key = question.round <= BORDER_ROUNDS;
  let counts = select(vec3<u32>(id) < question.steps, vec3<u32>(key) >= question.steps, by_key);
  return select(vec4<f32>(0.0), vec4<f32>(amount), vec4<bool>(counts | vec3<bool>(question.round == COUNT_ROUND), false));
}

// `claims` hold for the first steps and not for the later ones.
fn last_where(claims: vec3<bool>, steps: vec3<u32>, otherwise: u32) -> u32 {
  return select(select(select(otherwise, steps.x, claims.x), steps.y, claims.y), steps.z, claims.z);
}
