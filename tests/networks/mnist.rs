//! A convolutional network on a part of MNIST, from a folder that the user names.

use std::path::{Path, PathBuf};

use gradus::prelude::*;
use libtest_mimic::{Failed, Trial};

use super::ensure;
use crate::support::gpu::Gpu;

/// Names that the first 10,000 training images may have, alone or as the first of all.
const TRAIN: [&str; 2] = ["train", "train10k"];

/// The two files, if the folder that `GRADUS_TEST_MNIST` names has them.
fn files() -> Option<[PathBuf; 2]> {
    let folder = std::env::var("GRADUS_TEST_MNIST").ok()?;
    let file = |stem: &str, rest: &str| {
        let names = ["", ".gz"].map(|end| format!("{stem}-{rest}-ubyte{end}"));
        let mut paths = names.map(|name| Path::new(&folder).join(name)).into_iter();
        paths.find(|path| path.is_file())
    };
    TRAIN
        .iter()
        .find_map(|stem| Some([file(stem, "images-idx3")?, file(stem, "labels-idx1")?]))
}

/// At least 96 % of 2,000 images that it has not seen, after five epochs of 8,000.
fn reads_mnist(device: &Device) -> Result<(), Failed> {
    let [images, labels] = files().ok_or("GRADUS_TEST_MNIST names no folder with images")?;
    let data = datasets::idx_images(images, labels)?.with_classes(10)?;
    let data = data.take(10_000)?.reshape_features([1, 28, 28])?;
    let data = data.split(0.2, 7)?;
    let net = Sequential::new()
        .layer(Conv2d::new(16, 3).padding(1))
        .relu()
        .max_pool(2)
        .layer(Conv2d::new(32, 3).padding(1))
        .relu()
        .max_pool(2)
        .flatten()
        .dense(10);
    let mut model = net.compile(
        Compile::for_data(&data.train)
            .device(device.clone())
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(2e-3))
            .metric(Accuracy::new())
            .batch(64)
            .seed(1),
    )?;
    let found = model.verify()?;
    ensure(found.passed(), &found)?;
    model.fit(&data.train, Fit::epochs(5).drop_last().quiet())?;
    let accuracy = model.evaluate(&data.test)?.get("accuracy");
    eprintln!("accuracy {accuracy:?} of {} images", data.test.len());
    ensure(accuracy.is_some_and(|a| a >= 0.96), accuracy)
}

/// Shown as ignored where no files are named.
pub(crate) fn trials(gpu: &Gpu) -> Vec<Trial> {
    let trials = gpu.both("mnist", reads_mnist);
    match files() {
        Some(_) => trials.into(),
        None => trials.map(|t| t.with_ignored_flag(true)).into(),
    }
}
