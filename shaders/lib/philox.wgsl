// philox.wgsl — Philox 4×32-10, a counter-based random number generator.
//
// twin    crates/graph/src/philox.rs
// source  Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3"

// The high half of a product, from products of 16-bit halves; WGSL has no such built-in.
fn g_mulhi(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let middle = ah * bl + ((al * bl) >> 16u); // at most (2¹⁶ − 1)² + 2¹⁶ − 1: no carry
    let low = al * bh + (middle & 0xffffu);
    return ah * bh + (middle >> 16u) + (low >> 16u);
}

fn g_philox_round(c: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    let m0 = 0xD2511F53u;
    let m1 = 0xCD9E8D57u;
    return vec4<u32>(
        g_mulhi(m1, c.z) ^ c.y ^ key.x,
        m1 * c.z,
        g_mulhi(m0, c.x) ^ c.w ^ key.y,
        m0 * c.x,
    );
}

fn g_philox(seed: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    let weyl = vec2<u32>(0x9E3779B9u, 0xBB67AE85u); // golden ratio, √3 − 1
    var c = g_philox_round(counter, seed);
    c = g_philox_round(c, seed + weyl);
    c = g_philox_round(c, seed + 2u * weyl);
    c = g_philox_round(c, seed + 3u * weyl);
    c = g_philox_round(c, seed + 4u * weyl);
    c = g_philox_round(c, seed + 5u * weyl);
    c = g_philox_round(c, seed + 6u * weyl);
    c = g_philox_round(c, seed + 7u * weyl);
    c = g_philox_round(c, seed + 8u * weyl);
    c = g_philox_round(c, seed + 9u * weyl);
    return c;
}
