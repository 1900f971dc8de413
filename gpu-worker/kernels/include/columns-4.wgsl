// Four activation rows of a tile: their sums with four weight rows. By name: arrays are not sure to stay in registers.
const COLUMNS = 4u;

struct Sums {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
}

fn add_quads(x: ptr<storage, array<vec4<f32>>, read>, bases: array<u32, COLUMNS>, quad: u32, w: Quads, sums: Sums) -> Sums {
  return Sums(
    dot_quads(x[bases[0] + quad], w.a, w.b, w.c, w.d, sums.a),
    dot_quads(x[bases[1] + quad], w.a, w.b, w.c, w.d, sums.b),
    dot_quads(x[bases[2] + quad], w.a, w.b, w.c, w.d, sums.c),
    dot_quads(x[bases[3] + quad], w.a, w.b, w.c, w.d, sums.d),
  );
}

fn add_last(
  x: ptr<storage, array<vec4<f32>>, read>, bases: array<u32, COLUMNS>, quad: u32, length: u32, w: Quads, sums: Sums,
) -> Sums {
  return Sums(
    dot_quads(activation(x, bases[0], quad, length), w.a, w.b, w.c, w.d, sums.a),
    dot_quads(activation(x, bases[1], quad, length), w.a, w.b, w.c, w.d, sums.b),
    dot_quads(activation(x, bases[2], quad, length), w.a, w.b, w.c, w.d, sums.c),
    dot_quads(activation(x, bases[3], quad, length), w.a, w.b, w.c, w.d, sums.d),
  );
}

fn keep_sums(lanes: u32, lane: u32, sums: Sums) {
  chunk_sums[lane] = sums.a;
  chunk_sums[lanes + lane] = sums.b;
  chunk_sums[2u * lanes + lane] = sums.c;
  chunk_sums[3u * lanes + lane] = sums.d;
}
