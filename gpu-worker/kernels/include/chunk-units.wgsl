// A chunk's sums, unit by unit: little code in the loop, whatever the number of activation rows, and groups of any size.
fn chunk_of(
  w: ptr<storage, array<vec4<u32>>, read>, w_bases: vec4<u32>,
  x: ptr<storage, array<vec4<f32>>, read>, x_bases: array<u32, COLUMNS>,
  chunk: u32, length: u32, lane: u32,
) -> Sums {
  var sums = Sums();
  let end = min((length + 7u) / 8u, (chunk + 1u) * UNITS_PER_CHUNK);
  let whole = min(length / 8u, end);
  for (var unit = chunk * UNITS_PER_CHUNK; unit < whole; unit += 1u) {
    let p = weight_unit(w, w_bases.x, unit);
    let q = weight_unit(w, w_bases.y, unit);
    let r = weight_unit(w, w_bases.z, unit);
    let s = weight_unit(w, w_bases.w, unit);
    sums = add_quads(x, x_bases, 2u * unit, Quads(p.lo, q.lo, r.lo, s.lo), sums);
    sums = add_quads(x, x_bases, 2u * unit + 1u, Quads(p.hi, q.hi, r.hi, s.hi), sums);
  }
  return add_rest(w, w_bases, x, x_bases, max(whole, chunk * UNITS_PER_CHUNK), end, length, sums);
}
