// Up to eight activation rows of a panel: their sums with four weight rows. Columns from `count` on are left out by twos and
// fours: the same for all lanes. By name: arrays are not sure to stay in registers.
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

fn add_quad(share: Share, count: u32, quad: u32, w: Quads, start: Sums) -> Sums {
  var sums = start;
  sums.a = dot_quads(slab[share.eight][share.chunk][quad], w.a, w.b, w.c, w.d, sums.a);
  sums.b = dot_quads(slab[share.eight][share.chunk][quad + 8u], w.a, w.b, w.c, w.d, sums.b);
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
