// The cache holds f32, as computed: a quad is 16 bytes.
alias PageQuad = vec4<f32>;

fn page_values(quad: PageQuad) -> vec4<f32> {
  return quad;
}

fn page_quad(values: vec4<f32>) -> PageQuad {
  return values;
}
