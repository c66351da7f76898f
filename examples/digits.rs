//! Handwritten digits with a small network: the first program.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::prelude::*;

fn main() -> anyhow::Result<()> {
    let data = datasets::digits().split(0.2, 7)?; // embedded, values in [0, 1]
    let net = Sequential::new()
        .dense(128)
        .relu()
        .dropout(0.2)
        .dense(64)
        .relu()
        .dense(10);
    let mut model = net.compile(
        Compile::for_data(&data.train) // shapes, dtypes, classes; checks the labels
            .device(Device::best()?)
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(3e-3))
            .metric(Accuracy::new())
            .batch(32)
            .seed(7),
    )?;
    println!("{}", model.plan());
    println!("{}", model.verify()?); // this device against the reference
    let history = model.fit(&data.train, Fit::epochs(20).validation_split(0.1))?;
    println!("{}", model.evaluate(&data.test)?);
    history.plot("training.svg")?;
    model.save("digits.safetensors")?;
    Ok(())
}
