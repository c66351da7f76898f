//! A language model of bytes: a small GPT reads *Moby-Dick*, and writes like it.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::data::text::{Vocabulary, random_windows, windows};
use gradus::prelude::*;

#[path = "shared/gpt.rs"]
mod network;
#[path = "shared/mod.rs"]
mod shared;

/// Bytes that it sees at once.
pub(crate) const LENGTH: usize = 64;
pub(crate) const BATCH: usize = 16;
/// Steps of what is called an epoch here: each has other pieces of the text.
pub(crate) const STEPS: usize = 50;

/// The text as bytes, and its last tenth to test with.
pub(crate) fn text() -> anyhow::Result<(Vec<i32>, Vec<i32>)> {
    let mut train = Vocabulary::bytes().encode(datasets::moby_dick())?;
    let test = train.split_off(train.len() / 10 * 9);
    Ok((train, test))
}

/// The pieces of an epoch of so many steps.
pub(crate) fn pieces(text: &[i32], steps: usize, epoch: usize) -> anyhow::Result<Dataset> {
    Ok(random_windows(text, LENGTH, steps * BATCH, epoch as u64)?)
}

/// Pieces to test with, `every` so many bytes.
pub(crate) fn held_back(text: &[i32], every: usize) -> anyhow::Result<Dataset> {
    Ok(windows(text, LENGTH, every)?)
}

pub(crate) fn model(device: Device, data: &Dataset) -> Result<Model, gradus::Error> {
    let network = network::Gpt {
        tokens: Vocabulary::bytes().len(),
        width: 64,
        heads: 4,
        layers: 2,
        positions: LENGTH,
        checkpoint: false,
    };
    network.compile(
        Compile::for_data(data)
            .device(device)
            .loss(CrossEntropy::new())
            .optimizer(AdamW::new(3e-3))
            .clip_norm(1.0)
            .metric(Perplexity::new())
            .batch(BATCH)
            .seed(7),
    )
}

/// Goes on with texts, each as long as the model can see.
pub(crate) fn write(model: &mut Model, beginnings: &[&str]) -> anyhow::Result<Vec<String>> {
    let bytes = Vocabulary::bytes();
    let prompts = beginnings.iter().map(|text| bytes.encode(text));
    let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
    let longest = prompts.iter().map(Vec::len).max().unwrap_or_default();
    let settings = Generate::new(LENGTH - longest).temperature(0.8).top_k(20);
    let new = model.generate(&prompts, settings.seed(7))?;
    let whole = beginnings.iter().zip(new);
    whole
        .map(|(text, new)| Ok(format!("{text}{}", bytes.decode(&new)?)))
        .collect()
}

fn main() -> anyhow::Result<()> {
    let (train, test) = text()?;
    let test = held_back(&test, 16 * LENGTH)?;
    let mut model = model(Device::best()?, &test)?;
    for epoch in 0..shared::epochs(12)? {
        model.fit(&pieces(&train, STEPS, epoch)?, Fit::epochs(1))?;
        // Of a byte: the loss is in nats.
        println!("after {} steps: {}", model.steps(), model.evaluate(&test)?);
    }
    for text in write(&mut model, &["Call me ", "The whale ", "CHAPTER "])? {
        println!("{text:?}");
    }
    Ok(())
}
