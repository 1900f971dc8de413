// Up to eight activation rows of a panel: their sums with four weight rows. Columns from `count` on are left out, of the last
// six by two and four: the same for all lanes. By name: arrays are not sure to stay in registers.
const COLUMNS = 8u;

struct Sums {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
  e: vec4<f32>,
  f: vec4<f32>,
  g: vec4<f32>,
  h: vec4<f32>,
}

// A quad of each, fetched before the slab has room for it; of rows from `count` on, any.
struct Ahead {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
  e: vec4<f32>,
  f: vec4<f32>,
  g: vec4<f32>,
  h: vec4<f32>,
}

fn quads_ahead(panel: Panel, count: u32, quad: u32) -> Ahead {
  let last = count - 1u;
  return Ahead(
    panel_quad(panel, 0u, quad),
    panel_quad(panel, min(1u, last), quad),
    panel_quad(panel, min(2u, last), quad),
    panel_quad(panel, min(3u, last), quad),
    panel_quad(panel, min(4u, last), quad),
    panel_quad(panel, min(5u, last), quad),
    panel_quad(panel, min(6u, last), quad),
    panel_quad(panel, min(7u, last), quad),
  );
}

fn keep_quads(lane: u32, quad: u32, length: u32, ahead: Ahead) {
  let eight = lane / 64u;
  let chunk = lane / 8u % 8u;
  let place = lane % 8u;
  slab[eight][chunk][place] = within(ahead.a, quad, length);
  slab[eight][chunk][place + 8u] = within(ahead.b, quad, length);
  slab[eight][chunk][place + 16u] = within(ahead.c, quad, length);
  slab[eight][chunk][place + 24u] = within(ahead.d, quad, length);
  slab[eight][chunk][place + 32u] = within(ahead.e, quad, length);
  slab[eight][chunk][place + 40u] = within(ahead.f, quad, length);
  slab[eight][chunk][place + 48u] = within(ahead.g, quad, length);
  slab[eight][chunk][place + 56u] = within(ahead.h, quad, length);
}

fn add_quad(share: Share, count: u32, quad: u32, w: Quads, start: Sums) -> Sums {
  var sums = start;
  sums.a = dot_quads(slab[share.eight][share.chunk][quad], w.a, w.b, w.c, w.d, sums.a);
  if (count > 1u) {
    sums.b = dot_quads(slab[share.eight][share.chunk][quad + 8u], w.a, w.b, w.c, w.d, sums.b);
  }
  if (count > 2u) {
    sums.c = dot_quads(slab[share.eight][share.chunk][quad + 16u], w.a, w.b, w.c, w.d, sums.c);
    sums.d = dot_quads(slab[share.eight][share.chunk][quad + 24u], w.a, w.b, w.c, w.d, sums.d);
  }
  if (count > 4u) {
    sums.e = dot_quads(slab[share.eight][share.chunk][quad + 32u], w.a, w.b, w.c, w.d, sums.e);
    sums.f = dot_quads(slab[share.eight][share.chunk][quad + 40u], w.a, w.b, w.c, w.d, sums.f);
    sums.g = dot_quads(slab[share.eight][share.chunk][quad + 48u], w.a, w.b, w.c, w.d, sums.g);
    sums.h = dot_quads(slab[share.eight][share.chunk][quad + 56u], w.a, w.b, w.c, w.d, sums.h);
  }
  return sums;
}

fn keep_sums(share: Share, sums: Sums) {
  slab[share.eight][share.chunk][share.row_lane] = sums.a;
  slab[share.eight][share.chunk][share.row_lane + 8u] = sums.b;
  slab[share.eight][share.chunk][share.row_lane + 16u] = sums.c;
  slab[share.eight][share.chunk][share.row_lane + 24u] = sums.d;
  slab[share.eight][share.chunk][share.row_lane + 32u] = sums.e;
  slab[share.eight][share.chunk][share.row_lane + 40u] = sums.f;
  slab[share.eight][share.chunk][share.row_lane + 48u] = sums.g;
  slab[share.eight][share.chunk][share.row_lane + 56u] = sums.h;
}
