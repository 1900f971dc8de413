// Packed vectors of a format with scales, each within one group.
//
//   w = (u − zero) · scale      rounds once, in the product
fn vector_group(vector: u32) -> u32 {
  return 4u * VECTOR_QUADS * vector / params.W_GROUP;
}

// Zero points of four rows.
fn vector_zeros(w: ptr<storage, array<vec4<u32>>, read>, bases: vec4<u32>, group: u32) -> vec4<f32> {
  return vec4<f32>(
    zero_at(w, bases.x, group), zero_at(w, bases.y, group), zero_at(w, bases.z, group), zero_at(w, bases.w, group),
  );
}

// Scales of four rows.
fn vector_scales(w: ptr<storage, array<vec4<u32>>, read>, bases: vec4<u32>, group: u32) -> vec4<f32> {
  return vec4<f32>(
    scale_at(w, bases.x, group), scale_at(w, bases.y, group), scale_at(w, bases.z, group), scale_at(w, bases.w, group),
  );
}

fn vector_quad(packed: vec4<u32>, quad: u32, zero: f32, scale: f32) -> vec4<f32> {
  return packed_quad(packed, quad, zero) * vec4<f32>(scale);
}
