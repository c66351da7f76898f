// pow.wgsl — aᵇ with the domain of C's pow.
//
// The built-in is undefined for a < 0 and for a = b = 0. A negative base is allowed with whole
// exponents, where the sign is that of an odd exponent; otherwise the result is NaN.

fn g_pow(a: f32, b: f32) -> f32 {
    let half = b * 0.5;
    let whole = floor(b) == b;
    let odd = whole && floor(half) != half;
    var y = pow(abs(a), b);
    // Squares are the most common power by far, and exp2(2 log2 a) is not exact.
    y = select(y, a * a, b == 2.0);
    y = select(y, 1.0, b == 0.0);
    y = select(y, -y, a < 0.0 && odd);
    return select(y, g_nan(), a < 0.0 && !whole);
}
