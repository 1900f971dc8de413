// A row of logits in quads, several fetched together. Works on `logits` as vec4, VOCAB and VECTORS; who
// looks at a row says QUADS_AHEAD.
const LOWEST = -3.4028234e38;

// The quads of a strand from one of them on that are fetched together; behind its last they mean nothing or LOWEST.
struct Ahead {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
}

fn ahead(base: u32, quad: u32) -> Ahead {
  let first = quad_at(base, quad);
  if (QUADS_AHEAD == 1u || is_last(quad)) {
    return Ahead(first, first, first, first);
  }
  return Ahead(
    first, quad_at(base, quad + STRANDS), quad_at(base, quad + 2u * STRANDS), quad_at(base, quad + 3u * STRANDS),
  );
}

// Behind the vocabulary LOWEST: a token that is never chosen.
fn quad_at(base: u32, quad: u32) -> vec4<f32> {
  let values = logits[base + min(quad, params.VECTORS - 1u)];
  if (4u * quad + 4u <= params.VOCAB) {
    return values;
  }
  return select(vec4<f32>(LOWEST), values, ids_of(quad) < vec4<u32>(params.VOCAB));
}

// Of a strand's quads.
fn is_last(quad: u32) -> bool {
  return 4u * (quad + STRANDS) >= params.VOCAB;
}

fn ids_of(quad: u32) -> vec4<u32> {
  return vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
}
