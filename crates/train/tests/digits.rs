//! The first program, for several seeds.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it saw"
)]

use gradus_data::datasets;
use gradus_nn::{Accuracy, Adam, Conv2d, CrossEntropy, Sequential};
use gradus_train::{Compile, Device, Fit, IntoModel};

/// PyTorch gives a mean of 97.7 % with this recipe.
#[test]
fn the_first_program_learns_to_read_digits() {
    let accuracies: Vec<f64> = (0..5)
        .map(|seed| {
            let data = datasets::digits().split(0.2, seed).unwrap();
            let net = Sequential::new().dense(128).relu().dropout(0.2);
            let net = net.dense(64).relu().dense(10);
            let settings = Compile::for_data(&data.train)
                .device(Device::cpu())
                .loss(CrossEntropy::new())
                .optimizer(Adam::new(3e-3))
                .metric(Accuracy::new())
                .batch(32)
                .seed(seed);
            let mut model = net.compile(settings).unwrap();
            let fit = Fit::epochs(20).validation_split(0.1);
            model.fit(&data.train, fit).unwrap();
            let scores = model.evaluate(&data.test).unwrap();
            scores.get("accuracy").unwrap()
        })
        .collect();
    let mean = accuracies.iter().sum::<f64>() / 5.0;
    println!("{accuracies:?}, mean {mean}");
    assert!(mean >= 0.97, "{accuracies:?}");
    assert!(accuracies.iter().all(|&a| a >= 0.96), "{accuracies:?}");
}

#[test]
fn a_small_convolutional_network_learns_to_read_digits() {
    let data = datasets::digits().reshape_features([1, 8, 8]).unwrap();
    let data = data.split(0.2, 0).unwrap();
    let net = Sequential::new()
        .layer(Conv2d::new(8, 3).padding(1))
        .relu()
        .max_pool(2)
        .layer(Conv2d::new(16, 3).padding(1))
        .relu()
        .flatten()
        .dense(10);
    let settings = Compile::for_data(&data.train)
        .device(Device::cpu())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(1e-2))
        .metric(Accuracy::new())
        .batch(16)
        .seed(0);
    let mut model = net.compile(settings).unwrap();
    assert!(model.verify().unwrap().passed());
    model.fit(&data.train, Fit::epochs(3)).unwrap();
    let accuracy = model.evaluate(&data.test).unwrap().get("accuracy");
    assert!(accuracy.unwrap() >= 0.97, "{accuracy:?}");
}
