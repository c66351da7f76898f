// log1p.wgsl — ln(1 + x), exact near 0.
//
//   ln(1 + x) = 2 artanh(s)      s = x / (2 + x)
//
// For |x| < ½ is |s| ≤ ⅓, and the series to s¹⁵ has a relative error below 1e-8. Elsewhere 1 + x
// is far enough from 1 for the logarithm itself.

fn g_log1p(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let q = s * s;
    let series = 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0
        + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0 + q * (1.0 / 15.0))))))));
    return select(log(1.0 + x), series, abs(x) < 0.5);
}
