//! Windows over one long text, for language models.

use gradus_graph::Array;
use gradus_graph::philox::{Rng, stream};

use crate::{DataError, Dataset, INPUT};

/// Windows of `length` tokens, one every `stride`, each with the tokens that follow: inputs `[N, T]`
/// and targets `[N, T]`, one token later. What is left at the end and fills no window is left out.
///
/// With `stride` equal to `length` every token is predicted once. To hold text back, cut the tokens
/// first and make windows of each part.
///
/// # Errors
/// If `length` or `stride` is 0, there are fewer than `length + 1` tokens, or a token is negative.
pub fn windows(tokens: &[i32], length: usize, stride: usize) -> Result<Dataset, DataError> {
    let last = last_start(tokens, length)?;
    if stride == 0 {
        return Err(DataError::Window { length, stride });
    }
    at(tokens, length, (0..=last).step_by(stride))
}

/// `count` windows of `length` tokens at random places, which may overlap or repeat. The same seed
/// gives the same windows on every machine; another one for each epoch gives others each time.
///
/// # Errors
/// As [`windows`]; also if `count` is 0.
pub fn random_windows(
    tokens: &[i32],
    length: usize,
    count: usize,
    seed: u64,
) -> Result<Dataset, DataError> {
    let starts = last_start(tokens, length)?.saturating_add(1);
    let starts = u32::try_from(starts).map_err(|_| DataError::TooManySamples { found: starts })?;
    let mut rng = Rng::new(seed, stream("data.windows", 0));
    at(
        tokens,
        length,
        (0..count).map(|_| rng.below(starts) as usize),
    )
}

/// Where the last window begins.
fn last_start(tokens: &[i32], length: usize) -> Result<usize, DataError> {
    if length == 0 {
        return Err(DataError::Window { length, stride: 1 });
    }
    let last = tokens.len().checked_sub(length.saturating_add(1));
    last.ok_or(DataError::TooFewTokens {
        found: tokens.len(),
        length,
    })
}

fn at(
    tokens: &[i32],
    length: usize,
    starts: impl Iterator<Item = usize>,
) -> Result<Dataset, DataError> {
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for start in starts {
        let window = tokens.get(start..=start + length).unwrap_or_default();
        if let [input @ .., _] = window {
            inputs.extend_from_slice(input);
        }
        if let [_, target @ ..] = window {
            targets.extend_from_slice(target);
        }
    }
    let shape = [inputs.len() / length, length];
    let array = |values| {
        Array::new(shape, values).map_err(|source| DataError::Array {
            name: INPUT.to_owned(),
            source,
        })
    };
    Dataset::from_arrays(array(inputs)?, array(targets)?)
}
