// expm1.wgsl — eˣ − 1, exact near 0.
//
// Below ½ in magnitude eˣ − 1 cancels, and the Taylor series to x⁸ has a relative error of
// 0.5⁸/9! ≈ 1e-8; elsewhere at most one bit is lost.

fn g_expm1(x: f32) -> f32 {
    let tail = 1.0 / 5040.0 + x * (1.0 / 40320.0);
    let series = x + x * x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0
        + x * (1.0 / 120.0 + x * (1.0 / 720.0 + x * tail)))));
    return select(exp(x) - 1.0, series, abs(x) < 0.5);
}
