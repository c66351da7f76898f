// nan.wgsl — NaN by its bits.
//
// WGSL implementations may assume that NaN does not occur: `x != x` is false for NaN on the
// devices that were measured, and a NaN literal is an error.

fn g_is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn g_nan() -> f32 {
    var bits = 0x7fc00000u; // a variable, so that no compiler folds the cast
    return bitcast<f32>(bits);
}
