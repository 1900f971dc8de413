// Pieces of 16 bytes of a format without scales, fetched first and decoded later.
struct Piece {
  bits: vec4<u32>,
}

struct Decoder {
  nothing: u32,
}

const PIECE_QUADS = VECTOR_QUADS;

fn piece_at(w: ptr<storage, array<vec4<u32>>, read>, base: u32, piece: u32) -> Piece {
  return Piece((*w)[base + piece]);
}

fn piece_decoder(piece: Piece) -> Decoder {
  return Decoder(0u);
}

fn piece_quad(piece: Piece, by: Decoder, quad: u32) -> vec4<f32> {
  return packed_quad(piece.bits, quad);
}
