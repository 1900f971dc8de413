// What a lane mixes for eight heads: each a vec4 of its own that is never indexed, so that it stays in registers.

// One vec4 of columns for eight heads, a matrix column a head; and Σ weights, a component a head.
struct Mix {
  low: mat4x4<f32>,
  high: mat4x4<f32>,
  low_sum: vec4<f32>,
  high_sum: vec4<f32>,
}

fn with_key(mix: Mix, low: vec4<f32>, high: vec4<f32>, value: vec4<f32>) -> Mix {
  return Mix(
    mat4x4<f32>(
      fma(vec4<f32>(low.x), value, mix.low[0]), fma(vec4<f32>(low.y), value, mix.low[1]),
      fma(vec4<f32>(low.z), value, mix.low[2]), fma(vec4<f32>(low.w), value, mix.low[3]),
    ),
    mat4x4<f32>(
      fma(vec4<f32>(high.x), value, mix.high[0]), fma(vec4<f32>(high.y), value, mix.high[1]),
      fma(vec4<f32>(high.z), value, mix.high[2]), fma(vec4<f32>(high.w), value, mix.high[3]),
    ),
    mix.low_sum,
    mix.high_sum,
  );
}

// before · keep + after, a factor a head.
fn merged(before: Mix, low: vec4<f32>, high: vec4<f32>, after: Mix) -> Mix {
  return Mix(
    mat4x4<f32>(
      fma(before.low[0], vec4<f32>(low.x), after.low[0]), fma(before.low[1], vec4<f32>(low.y), after.low[1]),
      fma(before.low[2], vec4<f32>(low.z), after.low[2]), fma(before.low[3], vec4<f32>(low.w), after.low[3]),
    ),
    mat4x4<f32>(
      fma(before.high[0], vec4<f32>(high.x), after.high[0]), fma(before.high[1], vec4<f32>(high.y), after.high[1]),
      fma(before.high[2], vec4<f32>(high.z), after.high[2]), fma(before.high[3], vec4<f32>(high.w), after.high[3]),
    ),
    fma(before.low_sum, low, after.low_sum),
    fma(before.high_sum, high, after.high_sum),
  );
}

fn taken(part: Mix, low: vec4<f32>, high: vec4<f32>) -> Mix {
  return Mix(
    mat4x4<f32>(part.low[0] * low.x, part.low[1] * low.y, part.low[2] * low.z, part.low[3] * low.w),
    mat4x4<f32>(part.high[0] * high.x, part.high[1] * high.y, part.high[2] * high.z, part.high[3] * high.w),
    part.low_sum * low,
    part.high_sum * high,
  );
}
