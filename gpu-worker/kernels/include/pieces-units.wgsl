// Pieces of eight values that may lie in several groups: decoded as they are fetched.
struct Piece {
  values: Unit,
}

struct Decoder {
  nothing: u32,
}

const PIECE_QUADS = 2u;

fn piece_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, piece: u32) -> Piece {
  return Piece(weight_unit(w, base, piece));
}

fn piece_decoder(piece: Piece) -> Decoder {
  return Decoder(0u);
}

fn piece_quad(piece: Piece, by: Decoder, quad: u32) -> vec4<f32> {
  return select(piece.values.hi, piece.values.lo, quad == 0u);
}
