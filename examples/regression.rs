//! A curve from noisy points: regression with the mean squared error.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::graph::philox::Rng;
use gradus::prelude::*;

const POINTS: usize = 400;

fn main() -> anyhow::Result<()> {
    // y = sin 2x + 0.1 · noise, for x in [−3, 3].
    let mut rng = Rng::new(1, 0);
    let x: Vec<f32> = (0..POINTS)
        .map(|_| 6.0 * rng.uniform() as f32 - 3.0)
        .collect();
    let noisy = |&x: &f32| (2.0 * x).sin() + 0.1 * rng.normal() as f32;
    let y: Vec<f32> = x.iter().map(noisy).collect();
    let data = Dataset::from_arrays(Array::new([POINTS, 1], x)?, Array::new([POINTS, 1], y)?)?;

    let net = Sequential::new().dense(64).tanh().dense(64).tanh().dense(1);
    let settings = Compile::for_data(&data)
        .device(Device::best()?)
        .loss(Mse::new())
        .optimizer(Adam::new(5e-3))
        .batch(50)
        .seed(1);
    let mut model = net.compile(settings)?;
    println!("{}", model.verify()?);
    let history = model.fit(&data, Fit::epochs(150).validation_split(0.2))?;
    if let Some(epoch) = history.last() {
        println!("{epoch}");
    }

    let grid: Vec<f32> = (-6..=6).map(|i| i as f32 / 2.0).collect();
    let curve = model.predict(&Array::new([grid.len(), 1], grid.clone())?)?;
    for (x, y) in grid.iter().zip(curve.as_f32()?) {
        println!(
            "x {x:>5.2}   found {y:>6.3}   sin 2x {:>6.3}",
            (2.0 * x).sin()
        );
    }
    Ok(())
}
