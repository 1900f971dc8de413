// Pieces of 16 bytes of a format with scales, each within one group, fetched first and decoded later.
struct Piece {
  bits: vec4<u32>,
  zero: f32,
  scale: f32,
}

const PIECE_QUADS = VECTOR_QUADS;

fn piece_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, piece: u32) -> Piece {
  let group = 4u * VECTOR_QUADS * piece / params.W_GROUP;
  return Piece((*w)[base + piece], zero_at(w, base, group), scale_at(w, base, group));
}

fn piece_decoder(piece: Piece) -> Decoder {
  return whole_decoder(decoder(piece.zero, piece.scale), piece.bits);
}

fn piece_quad(piece: Piece, by: Decoder, quad: u32) -> vec4<f32> {
  return decoded_quad(piece.bits, quad, by);
}
