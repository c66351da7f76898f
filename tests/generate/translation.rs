//! An encoder and a decoder.

use gradus::nn::{Attend, LearnedPositions, TransformerDecoderLayer, TransformerEncoderLayer};
use gradus::prelude::*;
use libtest_mimic::Failed;

use super::{LENGTH, TOKENS, WIDTH, close, first_largest, prompts};

const SOURCE: usize = 7;

/// Both begin alike: encoder layers see all of the source, which does not depend on the tokens.
fn translated<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let get = |name| inputs.get(scope.graph(), name);
    let embedded = |name: &str, tokens| {
        let x = scope.apply(name, &Embedding::new(TOKENS, WIDTH), tokens);
        let positions = LearnedPositions::new(LENGTH).weight_init(init::Normal::with_std(0.5));
        scope.apply(&format!("{name}.positions"), &positions, x)
    };
    let there = get("source").ne(0);
    let source = embedded("source", get("source"));
    let keys = Attend::new().keys(there);
    let encoder = TransformerEncoderLayer::new(2);
    let memory = encoder.encode(&scope.child("encoder"), source, keys);
    let mut x = embedded("target", get("target"));
    for i in 0..2 {
        let scope = scope.child(&format!("decoder.{i}"));
        let to_memory = keys.memory(memory);
        x = TransformerDecoderLayer::new(2).decode(&scope, x, Attend::new(), to_memory);
    }
    let head = Dense::new(TOKENS).weight_init(init::Normal::with_std(0.5));
    scope.apply("head", &head, x).into()
}

fn model(device: &Device) -> Result<Model, gradus::Error> {
    let settings =
        Compile::new()
            .input("source", SOURCE, DType::I32)
            .input("target", LENGTH, DType::I32);
    Functional::new(translated).compile(settings.device(device.clone()).batch(4).seed(6))
}

fn sources(rows: usize) -> Result<Array, Failed> {
    // The last ones are padding.
    let token = |i: usize| {
        if i % SOURCE > 4 {
            0
        } else {
            (i * i % 28 + 1) as i32
        }
    };
    let tokens: Vec<i32> = (0..rows * SOURCE).map(token).collect();
    Ok(Array::new([rows, SOURCE], tokens)?)
}

pub(super) fn equals_the_whole(device: &Device) -> Result<(), Failed> {
    let (mut cached, mut uncached) = (model(device)?, model(device)?);
    let (mut sequences, source) = (prompts(), sources(prompts().len())?);
    let settings = Generate::new(8).with("source", source.clone());
    let mut steps = cached.generate_stream(&prompts(), settings)?;
    while let Some(tokens) = steps.next() {
        let (found, tokens) = (steps.logits()?, tokens?);
        let padded = |s: &Vec<i32>| {
            let tokens = s.iter().copied();
            tokens
                .chain(std::iter::repeat(0))
                .take(LENGTH)
                .collect::<Vec<i32>>()
        };
        let target: Vec<i32> = sequences.iter().flat_map(padded).collect();
        let batch = Batch::new()
            .with("source", source.clone())
            .with("target", Array::new([sequences.len(), LENGTH], target)?);
        let scores = uncached.predict(&batch)?;
        for (i, sequence) in sequences.iter_mut().enumerate() {
            let row = (i * LENGTH + sequence.len() - 1) * TOKENS;
            let scores = &scores.as_f32()?[row..][..TOKENS];
            close(&found.as_f32()?[i * TOKENS..][..TOKENS], scores)?;
            assert_eq!(tokens[i], Some(first_largest(scores)));
            sequence.extend(tokens[i]);
        }
    }
    assert_eq!(sequences[1].len(), 9);
    Ok(())
}
