//! MNIST from a folder: `cargo run --release --example mnist -- FOLDER`.
//!
//! The folder holds the four IDX files, unzipped; if some are missing, the error says where to
//! get them. Fashion-MNIST and KMNIST come in the same files.
#![allow(clippy::print_stdout, reason = "an example prints")]

use anyhow::Context;
use gradus::prelude::*;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "data/mnist".into());
    let data = datasets::mnist(&folder).context("usage: mnist FOLDER")?;
    let net = Sequential::new()
        .dense(256)
        .relu()
        .dropout(0.2)
        .dense(128)
        .relu()
        .dropout(0.2)
        .dense(10);
    let mut model = net.compile(
        Compile::for_data(&data.train)
            .device(Device::best()?)
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(1e-3))
            .metric(Accuracy::new())
            .batch(128)
            .seed(1)
            .resident(true),
    )?;
    println!("{}", model.plan());
    let history = model.fit(&data.train, Fit::epochs(10).validation(&data.test))?;
    println!("{history}");
    println!("{}", model.evaluate(&data.test)?);
    model.save("mnist.safetensors")?;
    Ok(())
}
