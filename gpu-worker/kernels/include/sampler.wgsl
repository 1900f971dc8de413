// How the next token of a sequence is chosen, as step-input.ts lays it out.
struct Sampler {
  inverse_temperature: f32,
  top_k: u32,
  top_p: f32,
  min_p: f32,
  seed: vec2<u32>,
  index: u32,
  forced: u32,
  mask: u32,
  first_change: u32,
  end_change: u32,
  repetition: f32,
  presence: f32,
  frequency: f32,
  logprobs: u32,
  unused: u32,
}
