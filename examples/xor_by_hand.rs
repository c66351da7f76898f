//! Exclusive or without layers: parameters and operations of the graph, steps by hand.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::prelude::*;

fn main() -> anyhow::Result<()> {
    // Two hidden units are enough: h = tanh(x·W₁ + b₁), logit = h·W₂ + b₂.
    let net = Sequential::new().with(|scope, x| {
        let w1 = scope.param("w1", [2, 4], init::Normal::with_std(1.0));
        let b1 = scope.param("b1", [4], init::Zeros);
        let w2 = scope.param("w2", [4, 1], init::Normal::with_std(1.0));
        let b2 = scope.param("b2", [1], init::Zeros);
        let hidden = (x.matmul(w1) + b1).tanh();
        hidden.matmul(w2) + b2
    });
    let settings = Compile::new()
        .input("x", 2, DType::F32)
        .target(1, DType::F32)
        .device(Device::best()?)
        .loss(BceWithLogits::new())
        .optimizer(Sgd::new(0.5).momentum(0.9))
        .batch(4)
        .seed(3);
    let mut model = net.compile(settings)?;
    println!("{:#}", model.plan());
    println!("{}", model.verify()?);

    let x = Array::new([4, 2], vec![0.0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])?;
    let y = Array::new([4, 1], vec![0.0f32, 1.0, 1.0, 0.0])?;
    let batch = Batch::new().with("x", x.clone()).with("y", y);
    for step in 0..200 {
        let ticket = model.step(&batch)?; // returns at once
        if step % 50 == 49 {
            println!("step {}: {}", step + 1, model.wait(ticket)?);
        }
    }
    println!("probabilities {:?}", model.predict_proba(&x)?.as_f32()?);
    println!("classes       {:?}", model.predict_classes(&x)?);
    Ok(())
}
