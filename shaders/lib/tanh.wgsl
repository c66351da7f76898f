// tanh.wgsl — hyperbolic tangent for every x.
//
//   tanh |x| = −t / (2 + t)      t = e^(−2|x|) − 1
//
// The built-in may compute e^(2x) and give NaN where that overflows; t stays in (−1, 0].

fn g_tanh(x: f32) -> f32 {
    let t = g_expm1(-2.0 * abs(x));
    let y = -t / (2.0 + t);
    return select(y, -y, x < 0.0);
}
