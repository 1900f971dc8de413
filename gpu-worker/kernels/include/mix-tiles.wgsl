// What lanes mix of a tile from weights in workgroup memory, eight loads under way at a time. Needs mix.wgsl, attention.wgsl and
// of its kernel `weights` [.., key], a component a head.

// Where the scores of a quad of heads begin; past the last: the last again, unkept.
fn scores_of(slot: u32, quad: u32) -> u32 {
  let quads = (params.HEADS + 3u) / 4u;
  return (slot * quads + min(quad, quads - 1u)) * SCORES_EACH;
}

// A vec4 of columns of eight keys.
struct Eight {
  a: PageQuad,
  b: PageQuad,
  c: PageQuad,
  d: PageQuad,
  e: PageQuad,
  f: PageQuad,
  g: PageQuad,
  h: PageQuad,
}

// A tile's Σ weight · entry, keys ascending, of one vec4 of columns: `own` is where the weights of its first key are.
fn mixed(table: u32, first: u32, count: u32, own: u32, column: u32) -> Mix {
  var mix = Mix();
  // Where the tile's two blocks begin.
  let low = entry_of(table, first) + column;
  let high = entry_of(table, first + min(32u, count - 1u) / 32u * 32u) + column;
  let eights = count / 8u;
  var next = eight_keys(low);
  for (var i = 0u; i < eights; i += 1u) {
    let now = next;
    let after = min(i + 1u, max(eights, 1u) - 1u);
    next = eight_keys(select(low, high, after >= 4u) + after % 4u * 8u * params.ENTRY_VECTORS);
    let key = own + 8u * i;
    mix = add_key(mix, key, now.a);
    mix = add_key(mix, key + 1u, now.b);
    mix = add_key(mix, key + 2u, now.c);
    mix = add_key(mix, key + 3u, now.d);
    mix = add_key(mix, key + 4u, now.e);
    mix = add_key(mix, key + 5u, now.f);
    mix = add_key(mix, key + 6u, now.g);
    mix = add_key(mix, key + 7u, now.h);
  }
  for (var key = 8u * eights; key < count; key += 1u) {
    let at = select(low, high, key >= 32u) + key % 32u * params.ENTRY_VECTORS;
    mix = add_key(mix, own + key, pages[at]);
  }
  return mix;
}

fn eight_keys(at: u32) -> Eight {
  let step = params.ENTRY_VECTORS;
  return Eight(
    pages[at], pages[at + step], pages[at + 2u * step], pages[at + 3u * step],
    pages[at + 4u * step], pages[at + 5u * step], pages[at + 6u * step], pages[at + 7u * step],
  );
}

fn add_key(mix: Mix, at: u32, value: PageQuad) -> Mix {
  return with_key(mix, weights[at], weights[at + TILE], page_values(value));
}

// Σ weight of a tile for one quad of heads, keys ascending: past the last key weights are 0. Eight loads at a time.
fn summed(at: u32) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  for (var key = at; key < at + TILE; key += 8u) {
    let a = weights[key];
    let b = weights[key + 1u];
    let c = weights[key + 2u];
    let d = weights[key + 3u];
    let e = weights[key + 4u];
    let f = weights[key + 5u];
    let g = weights[key + 6u];
    let h = weights[key + 7u];
    sum = (((((((sum + a) + b) + c) + d) + e) + f) + g) + h;
  }
  return sum;
}
