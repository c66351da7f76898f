//! Handwritten digits with a convolutional network.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::prelude::*;

#[path = "shared/mod.rs"]
mod shared;

fn network() -> Sequential {
    Sequential::new()
        .layer(Conv2d::new(16, 3).padding(1))
        .relu()
        .layer(Conv2d::new(32, 3).padding(1))
        .relu()
        .max_pool(2)
        .flatten()
        .dropout(0.3)
        .dense(10)
}

pub(crate) fn model(device: Device, train: &Dataset) -> Result<Model, gradus::Error> {
    network().compile(
        Compile::for_data(train)
            .device(device)
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(3e-3))
            .metric(Accuracy::new())
            .batch(32)
            .seed(7),
    )
}

fn main() -> anyhow::Result<()> {
    let (train, test) = shared::digits()?;
    let mut model = model(Device::best()?, &train)?;
    println!("{}", model.plan());
    println!("{}", model.fit(&train, Fit::epochs(20))?);
    println!("{}", model.evaluate(&test)?);
    Ok(())
}
