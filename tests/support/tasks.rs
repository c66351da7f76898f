//! Small data sets and networks that train within a second.

use gradus::prelude::*;
use libtest_mimic::Failed;

#[path = "../../examples/shared/gpt.rs"]
mod network;

/// A third of the digits.
pub(crate) fn digits() -> Result<Dataset, Failed> {
    Ok(datasets::digits().take(640)?)
}

/// Settings for either data set.
pub(crate) fn settings(data: &Dataset, device: &Device) -> Compile {
    Compile::for_data(data)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(3e-3))
        .batch(32)
        .seed(5)
}

/// Each token follows from the two before it.
pub(crate) fn sequences() -> Result<Dataset, Failed> {
    const TOKENS: i32 = 13;
    let (samples, length) = (192, 17);
    let mut x = Vec::new();
    let mut y = Vec::new();
    for i in 0..samples {
        let (mut a, mut b) = (i % TOKENS, (i / TOKENS) % TOKENS);
        for _ in 0..length {
            let next = (3 * a + b + 1) % TOKENS;
            (a, b) = (b, next);
            x.push(a);
            y.push(b);
        }
    }
    let shape = [samples.unsigned_abs() as usize, length];
    let (x, y) = (Array::new(shape, x)?, Array::new(shape, y)?);
    Ok(Dataset::from_arrays(x, y)?)
}

/// A network for the sequences.
pub(crate) fn gpt() -> impl Network {
    network::Gpt {
        tokens: 13,
        positions: 17,
        checkpoint: false,
        width: 24,
        heads: 2,
        layers: 2,
    }
}
