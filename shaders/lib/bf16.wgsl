// bf16.wgsl — bfloat16, the upper half of an f32, two packed in a word: the first is the lower half.

// The nearest, halves to even; the carry may reach the exponent. A NaN may have its bits in the
// lower half alone.
fn g_bf16(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let rounded = bits + 0x7fffu + ((bits >> 16u) & 1u);
    let nan = bits | 0x400000u;
    let both = select(rounded, nan, (bits & 0x7fffffffu) > 0x7f800000u) & 0xffff0000u;
    return bitcast<f32>(both);
}

// One half of a word, 0 or 1.
fn g_half(word: u32, half: u32) -> f32 {
    return bitcast<f32>((word >> (half * 16u)) << 16u);
}

fn g_unpack(a: u32, b: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}

// Of numbers that are rounded.
fn g_pack(x: vec2<f32>) -> u32 {
    let bits = bitcast<vec2<u32>>(x);
    return (bits.x >> 16u) | (bits.y & 0xffff0000u);
}
