//! A convolutional autoencoder: 8×8 digits through 8 numbers and back, with transposed
//! convolutions. Writes `autoencoder.png`: a row of digits, and below it what came back.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::prelude::*;

#[path = "shared/mod.rs"]
mod shared;

fn network() -> Sequential {
    Sequential::new()
        .layer(Conv2d::new(16, 4).stride(2).padding(1))
        .relu()
        .layer(Conv2d::new(32, 4).stride(2).padding(1))
        .relu()
        .flatten()
        .dense(8)
        .dense(32 * 2 * 2)
        .relu()
        .with(|_, x| x.reshape([x.dim(0), 32, 2, 2]))
        .layer(ConvTranspose2d::new(16, 4).stride(2).padding(1))
        .relu()
        .layer(ConvTranspose2d::new(1, 4).stride(2).padding(1))
        .sigmoid()
}

/// The images, to be made of themselves.
pub(crate) fn images(data: &Dataset) -> anyhow::Result<Dataset> {
    let (_, x) = data
        .inputs()
        .next()
        .ok_or_else(|| anyhow::anyhow!("no input"))?;
    Ok(Dataset::from_arrays(x.clone(), x.clone())?)
}

pub(crate) fn model(device: Device, train: &Dataset) -> Result<Model, gradus::Error> {
    network().compile(
        Compile::for_data(train)
            .device(device)
            .loss(Mse::new())
            .optimizer(Adam::new(2e-3))
            .batch(32)
            .seed(7),
    )
}

fn main() -> anyhow::Result<()> {
    let (train, test) = shared::digits()?;
    let (train, test) = (images(&train)?, images(&test)?);
    let mut model = model(Device::best()?, &train)?;
    println!("{}", model.fit(&train, Fit::epochs(30))?);
    println!("{}", model.evaluate(&test)?);
    let shown = test.take(10)?;
    let mut pixels = shown.target().as_f32()?.to_vec();
    pixels.extend_from_slice(model.predict(&shown)?.as_f32()?);
    let both = Array::new([20, 1, 8, 8], pixels)?;
    shared::save_grid("autoencoder.png", &both, 10)
}
