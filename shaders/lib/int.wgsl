// int.wgsl — integer ops with the semantics of every executor: division by zero gives 0, shifts
// are taken modulo 32, conversions saturate.

fn g_div_i32(a: i32, b: i32) -> i32 {
    // i32::MIN / −1 wraps, which negation does and division need not.
    let divisor = select(b, 1, b == 0 || b == -1);
    return select(select(a / divisor, 0 - a, b == -1), 0, b == 0);
}

fn g_div_u32(a: u32, b: u32) -> u32 {
    return select(a / max(b, 1u), 0u, b == 0u);
}

fn g_rem_i32(a: i32, b: i32) -> i32 {
    let divisor = select(b, 1, b == 0 || b == -1);
    return a - a / divisor * divisor; // 0 for the divisors 0 and ±1
}

fn g_rem_u32(a: u32, b: u32) -> u32 {
    return a % max(b, 1u);
}

fn g_shl_i32(a: i32, b: i32) -> i32 {
    return a << (bitcast<u32>(b) & 31u);
}

fn g_shl_u32(a: u32, b: u32) -> u32 {
    return a << (b & 31u);
}

fn g_shr_i32(a: i32, b: i32) -> i32 {
    return a >> (bitcast<u32>(b) & 31u);
}

fn g_shr_u32(a: u32, b: u32) -> u32 {
    return a >> (b & 31u);
}

fn g_f32_to_i32(x: f32) -> i32 {
    // 2147483520 is the largest f32 below 2³¹.
    let inside = i32(clamp(x, -2147483648.0, 2147483520.0));
    return select(select(inside, 2147483647, x >= 2147483648.0), 0, g_is_nan(x));
}

fn g_f32_to_u32(x: f32) -> u32 {
    let inside = u32(clamp(x, 0.0, 4294967040.0));
    return select(select(inside, 4294967295u, x >= 4294967296.0), 0u, g_is_nan(x));
}

fn g_f32_to_bool(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) != 0u; // true for NaN, which `x != 0.0` need not be
}
