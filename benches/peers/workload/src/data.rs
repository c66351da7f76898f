//! Numbers that are the same in every language: a hash of position and stream.

/// 24 random bits for element `i` of a stream.
///
/// Source: C. Wellons, *Prospecting for Hash Functions* (2018), `lowbias32`.
pub const fn bits(stream: u32, i: u32) -> u32 {
    let mut x = i.wrapping_add(stream.wrapping_mul(0x9e37_79b9));
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    (x ^ (x >> 16)) >> 8
}

/// `count` numbers in [0, 1).
pub fn uniform(stream: u32, count: usize) -> Vec<f32> {
    (0..count as u32)
        .map(|i| bits(stream, i) as f32 / (1 << 24) as f32)
        .collect()
}

/// `count` numbers in [−bound, bound).
pub fn symmetric(stream: u32, count: usize, bound: f32) -> Vec<f32> {
    let values = uniform(stream, count).into_iter();
    values.map(|u| (2.0 * u - 1.0) * bound).collect()
}

/// `count` numbers from 0 to `below − 1`.
pub fn integers(stream: u32, count: usize, below: usize) -> Vec<usize> {
    (0..count as u32)
        .map(|i| bits(stream, i) as usize % below)
        .collect()
}

/// The transpose of a row-major `[rows, columns]`.
pub fn transpose<T: Copy>(matrix: &[T], columns: usize) -> Vec<T> {
    let column = |j| matrix.iter().skip(j).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}
