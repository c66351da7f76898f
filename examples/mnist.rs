//! MNIST from a folder: `cargo run --release --example mnist -- FOLDER [--cnn]`.
//!
//! The folder holds the four IDX files, zipped or not; if some are missing, the error says where to
//! get them. Fashion-MNIST and KMNIST come in the same files.
#![allow(clippy::print_stdout, reason = "an example prints")]

use anyhow::Context;
use gradus::prelude::*;

fn dense() -> Sequential {
    Sequential::new()
        .dense(256)
        .relu()
        .dropout(0.2)
        .dense(128)
        .relu()
        .dropout(0.2)
        .dense(10)
}

fn convolutional() -> Sequential {
    Sequential::new()
        .with(|_, x| x.reshape([x.dim(0), 1, 28, 28]))
        .layer(Conv2d::new(16, 3).padding(1))
        .relu()
        .max_pool(2)
        .layer(Conv2d::new(32, 3).padding(1))
        .relu()
        .max_pool(2)
        .flatten()
        .dropout(0.3)
        .dense(10)
}

fn main() -> anyhow::Result<()> {
    let (options, folders): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let folder = folders.first().map_or("data/mnist", String::as_str);
    let data = datasets::mnist(folder).context("usage: mnist FOLDER [--cnn]")?;
    let net = match options.as_slice() {
        [] => dense(),
        [cnn] if cnn == "--cnn" => convolutional(),
        other => anyhow::bail!("unknown options {other:?}; usage: mnist FOLDER [--cnn]"),
    };
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
