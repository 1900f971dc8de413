// What lanes mix of a tile from weights in workgroup memory, eight loads under way at a time. Needs mix.wgsl, attention.wgsl and
// of its kernel `weights` [.., key], a component a head, `split_out` [head][column lane] and COLUMN_LANES.

// A tile's Σ weight · entry, keys ascending, of one vec4 of columns.
fn mixed(table: u32, first: u32, count: u32, own: u32, column: u32) -> Mix {
  var mix = Mix();
  for (var start = 0u; start < count; start += 32u) {
    let base = entry_of(table, first + start) + column;
    let end = min(32u, count - start);
    var j = 0u;
    // Eight loads under way at a time.
    for (; j + 8u <= end; j += 8u) {
      let at = base + j * params.ENTRY_VECTORS;
      let a = pages[at];
      let b = pages[at + params.ENTRY_VECTORS];
      let c = pages[at + 2u * params.ENTRY_VECTORS];
      let d = pages[at + 3u * params.ENTRY_VECTORS];
      let e = pages[at + 4u * params.ENTRY_VECTORS];
      let f = pages[at + 5u * params.ENTRY_VECTORS];
      let g = pages[at + 6u * params.ENTRY_VECTORS];
      let h = pages[at + 7u * params.ENTRY_VECTORS];
      let key = own + start + j;
      mix = add_key(mix, key, a);
      mix = add_key(mix, key + 1u, b);
      mix = add_key(mix, key + 2u, c);
      mix = add_key(mix, key + 3u, d);
      mix = add_key(mix, key + 4u, e);
      mix = add_key(mix, key + 5u, f);
      mix = add_key(mix, key + 6u, g);
      mix = add_key(mix, key + 7u, h);
    }
    for (; j < end; j += 1u) {
      mix = add_key(mix, own + start + j, pages[base + j * params.ENTRY_VECTORS]);
    }
  }
  return mix;
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

// split · shrink + tile, head by head.
fn add_tile(at: u32, low: vec4<f32>, high: vec4<f32>, mix: Mix) {
  add_head(at, low.x, mix.low[0]);
  add_head(at + COLUMN_LANES, low.y, mix.low[1]);
  add_head(at + 2u * COLUMN_LANES, low.z, mix.low[2]);
  add_head(at + 3u * COLUMN_LANES, low.w, mix.low[3]);
  add_head(at + 4u * COLUMN_LANES, high.x, mix.high[0]);
  add_head(at + 5u * COLUMN_LANES, high.y, mix.high[1]);
  add_head(at + 6u * COLUMN_LANES, high.z, mix.high[2]);
  add_head(at + 7u * COLUMN_LANES, high.w, mix.high[3]);
}

fn add_head(at: u32, shrink: f32, tile: vec4<f32>) {
  split_out[at] = fma(split_out[at], vec4<f32>(shrink), tile);
}
