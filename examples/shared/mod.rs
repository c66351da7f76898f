//! What several examples need: how long to train, noise, and pictures.
#![allow(dead_code, reason = "no example needs everything")]

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use gradus::graph::philox::{Rng, stream};
use gradus::prelude::*;

/// The digits as images `[1, 8, 8]`, a fifth of them to test with.
pub(crate) fn digits() -> anyhow::Result<(Dataset, Dataset)> {
    let data = datasets::digits().reshape_features([1, 8, 8])?;
    let data = data.split(0.2, 7)?;
    Ok((data.train, data.test))
}

/// `most` epochs, or fewer if `GRADUS_EXAMPLE_EPOCHS` says so, as `fit` does.
pub(crate) fn epochs(most: usize) -> anyhow::Result<usize> {
    match std::env::var("GRADUS_EXAMPLE_EPOCHS") {
        Ok(few) if !few.is_empty() => Ok(most.min(few.parse().context("GRADUS_EXAMPLE_EPOCHS")?)),
        _ => Ok(most),
    }
}

/// Normal numbers `[samples, width]`, others for every `step`.
pub(crate) fn noise(samples: usize, width: usize, step: u64) -> anyhow::Result<Array> {
    let mut rng = Rng::new(step, stream("noise", 0));
    let values: Vec<f32> = (0..samples * width).map(|_| rng.normal() as f32).collect();
    Ok(Array::new([samples, width], values)?)
}

/// Images `[N, 1, 8, 8]` from noise, in the manner of DCGAN: so many channels before the last layer.
pub(crate) fn generator(channels: usize) -> Sequential {
    let first = 2 * channels;
    Sequential::new()
        .dense(first * 2 * 2)
        .with(move |_, x| x.reshape([x.dim(0), first, 2, 2]))
        .batch_norm()
        .relu()
        .layer(
            ConvTranspose2d::new(channels, 4)
                .stride(2)
                .padding(1)
                .no_bias(),
        )
        .batch_norm()
        .relu()
        .layer(ConvTranspose2d::new(1, 4).stride(2).padding(1))
        .sigmoid()
}

/// Writes images `[N, 1, H, W]` of values in [0, 1] as a grid of `columns`, each pixel four wide.
pub(crate) fn save_grid(path: &str, images: &Array, columns: usize) -> anyhow::Result<()> {
    const ZOOM: usize = 4;
    let &[count, 1, height, width] = &images.shape()[..] else {
        anyhow::bail!("expected [N, 1, H, W], found {}", images.shape());
    };
    let (columns, values) = (columns.max(1), images.as_f32()?);
    let (across, down) = (columns * width, count.div_ceil(columns) * height);
    let pixel = |x: usize, y: usize| {
        let image = y / height * columns + x / width;
        let value = values.get((image * height + y % height) * width + x % width);
        (value.map_or(0.0, |v| v.clamp(0.0, 1.0)) * 255.0).round() as u8
    };
    let rows = 0..down * ZOOM;
    let pixels = rows.flat_map(|y| (0..across * ZOOM).map(move |x| (x, y)));
    let pixels: Vec<u8> = pixels.map(|(x, y)| pixel(x / ZOOM, y / ZOOM)).collect();
    let file = File::create(Path::new(path)).with_context(|| path.to_owned())?;
    let side = |n: usize| u32::try_from(n * ZOOM);
    let mut encoder = png::Encoder::new(file, side(across)?, side(down)?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(())
}
