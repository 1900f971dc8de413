// One activation row of a tile: its sums with four weight rows.
const COLUMNS = 1u;

struct Sums {
  a: vec4<f32>,
}

fn add_quads(x: ptr<storage, array<vec4<f32>>, read>, bases: array<u32, COLUMNS>, quad: u32, w: Quads, sums: Sums) -> Sums {
  return Sums(dot_quads(x[bases[0] + quad], w.a, w.b, w.c, w.d, sums.a));
}

fn add_last(
  x: ptr<storage, array<vec4<f32>>, read>, bases: array<u32, COLUMNS>, quad: u32, length: u32, w: Quads, sums: Sums,
) -> Sums {
  return Sums(dot_quads(activation(x, bases[0], quad, length), w.a, w.b, w.c, w.d, sums.a));
}

fn keep_sums(lanes: u32, lane: u32, sums: Sums) {
  chunk_sums[lane] = sums.a;
}
