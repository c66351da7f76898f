//! The adding problem (Hochreiter & Schmidhuber 1997): of a sequence of numbers two are marked, and
//! a recurrent network says their sum in the end. Always to say 1 has a mean square of 1/6.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::graph::philox::{Rng, stream};
use gradus::prelude::*;

/// Numbers of a sequence.
pub(crate) const LENGTH: u32 = 30;
const HIDDEN: usize = 32;

/// Sequences `[N, LENGTH, 2]` of numbers in [0, 1) and their marks; the sums `[N, 1]`.
pub(crate) fn sums(count: usize, seed: u64) -> anyhow::Result<Dataset> {
    let mut rng = Rng::new(seed, stream("sums", 0));
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..count {
        // One in each half.
        let marked = [rng.below(LENGTH / 2), LENGTH / 2 + rng.below(LENGTH / 2)];
        let mut sum = 0.0;
        for t in 0..LENGTH {
            let (number, mark) = (rng.uniform() as f32, f32::from(marked.contains(&t)));
            sum += number * mark;
            x.extend([number, mark]);
        }
        y.push(sum);
    }
    let x = Array::new([count, LENGTH as usize, 2], x)?;
    Ok(Dataset::from_arrays(x, Array::new([count, 1], y)?)?)
}

/// A long short-term memory, whose last state is asked.
struct Adder;

impl Layer for Adder {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let (batch, length) = (x.dim(0), x.dim(1));
        let states = scope.apply("lstm", &Recurrent::new(Cell::Lstm, HIDDEN), x);
        let last = states.slice_axis(1, length - 1, length);
        scope.apply("head", &Dense::new(1), last.reshape([batch, HIDDEN]))
    }
}

pub(crate) fn model(device: Device, data: &Dataset) -> Result<Model, gradus::Error> {
    Adder.compile(
        Compile::for_data(data)
            .device(device)
            .loss(Mse::new())
            .optimizer(Adam::new(5e-3))
            .clip_norm(1.0)
            .batch(128)
            .seed(7),
    )
}

fn main() -> anyhow::Result<()> {
    let (train, test) = (sums(6400, 1)?, sums(1000, 2)?);
    let mut model = model(Device::best()?, &train)?;
    println!("{}", model.fit(&train, Fit::epochs(20))?);
    println!("{}", model.evaluate(&test)?);
    Ok(())
}
