// sigmoid.wgsl — 1 / (1 + e⁻ˣ) for every x.
//
// With e = e^(−|x|) ≤ 1 nothing overflows: 1 / (1 + e) for x ≥ 0, e / (1 + e) below.

fn g_sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}
