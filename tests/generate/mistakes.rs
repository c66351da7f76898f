//! What cannot be continued is an error that says why.

use gradus::nn::{Attend, Cell, LearnedPositions, MultiHeadAttention, Recurrent};
use gradus::prelude::*;
use libtest_mimic::Failed;

use super::{LENGTH, Net, model};

/// The error says all of this.
fn says<T>(result: Result<T, gradus::Error>, parts: &[&str]) -> Result<(), Failed> {
    let text = match result {
        Ok(_) => return Err(format!("there was no error with {parts:?}").into()),
        Err(error) => error.to_string(),
    };
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(part) => Err(format!("`{part}` is not in: {text}").into()),
        None => Ok(()),
    }
}

/// A layer between vectors and scores.
struct With<L>(L);

impl<L: Layer> Layer for With<L> {
    fn forward<'g>(&self, scope: &Scope<'g>, tokens: Var<'g>) -> Var<'g> {
        let x = scope.apply("tokens", &Embedding::new(9, 8), tokens);
        scope.apply("layer", &self.0, x)
    }
}

/// Attention with a mask of its own.
struct Masked;

impl Layer for Masked {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let mask = scope.graph().full([1, 1, x.dim(1), x.dim(1)], true);
        let attention = MultiHeadAttention::new(2).causal();
        attention.attend(scope, x, Attend::new().mask(mask))
    }
}

fn refused(layer: impl Layer + 'static, device: &Device, parts: &[&str]) -> Result<(), Failed> {
    let settings = Compile::new().input("tokens", 6, DType::I32);
    let mut model = With(layer).compile(settings.device(device.clone()))?;
    says(model.generate(&[[1, 2]], Generate::new(3)), parts)?;
    // The model can still be asked.
    model.predict(&Array::new([1, 6], vec![1; 6])?)?;
    Ok(())
}

pub(super) fn all(device: &Device) -> Result<(), Failed> {
    let mut gpt = model(Net::Learned, device, LENGTH)?;
    let mut with = |prompts: &[Vec<i32>], settings: Generate, parts: &[&str]| {
        says(gpt.generate(prompts, settings), parts)
    };
    let some = || vec![vec![1, 2, 3]];
    with(&[], Generate::new(3), &["no prompts"])?;
    with(&[vec![1], vec![]], Generate::new(3), &["prompt 1 is empty"])?;
    let unknown = ["token 29", "position 2", "prompt 1", "29"];
    with(&[vec![1], vec![1, 2, 29]], Generate::new(3), &unknown)?;
    with(&some(), Generate::new(0), &["at least 1 new token", "0"])?;
    with(
        &some(),
        Generate::new(3).temperature(-0.5),
        &["temperature", "-0.5"],
    )?;
    with(
        &some(),
        Generate::new(3).temperature(f64::NAN),
        &["temperature", "NaN"],
    )?;
    with(
        &some(),
        Generate::new(3).temperature(f64::INFINITY),
        &["temperature", "inf"],
    )?;
    with(&some(), Generate::new(3).top_k(0), &["top_k", "at least 1"])?;
    for p in [0.0, -0.1, 1.1, f64::NAN] {
        with(
            &some(),
            Generate::new(3).top_p(p),
            &["top_p", "(0, 1]", &p.to_string()],
        )?;
    }
    // 3 and 22 new ones have 24 positions: the last token is not seen.
    with(
        &some(),
        Generate::new(LENGTH - 1),
        &["25 positions", "has 24"],
    )?;
    let extra = Generate::new(3).with("tokens", Array::new([1, LENGTH], vec![0; LENGTH])?);
    with(&some(), extra, &["exactly one input", "none"])?;
    let other = Generate::new(3).with("image", Array::new([1, 1], vec![0.0f32])?);
    with(&some(), other, &["`image`"])?;
    assert_eq!(
        gpt.generate(&some(), Generate::new(LENGTH - 2))?[0].len(),
        LENGTH - 2
    );

    refused(MultiHeadAttention::new(2), device, &["`layer`", "causal"])?;
    refused(Masked, device, &["`layer`", "no masks"])?;
    let both = Recurrent::new(Cell::Gru, 4).bidirectional();
    refused(both, device, &["`layer`", "no way back"])?;
    refused(Flatten, device, &["[B, T, V]", "[1, 16]"])?;

    let settings = Compile::new().input("x", 6, DType::F32);
    let mut dense = Sequential::new()
        .dense(3)
        .compile(settings.device(device.clone()))?;
    says(
        dense.generate(&[[1]], Generate::new(1)),
        &["`x`", "f32", "sequence of tokens"],
    )?;

    let two = Functional::new(|scope, inputs| {
        let get = |name| inputs.get(scope.graph(), name);
        (With(LearnedPositions::new(6)).forward(scope, get("a"))
            + get("b").cast(DType::F32).sum_all())
        .into()
    });
    let settings = Compile::new()
        .input("a", 6, DType::I32)
        .input("b", 2, DType::I32);
    let mut two = two.compile(settings.device(device.clone()))?;
    says(
        two.generate(&[[1]], Generate::new(1)),
        &["`a`, `b`", ".with(…)"],
    )?;
    let b = |rows: usize| Array::new([rows, 2], vec![0; rows * 2]);
    let wrong = Generate::new(1).with("b", b(3)?);
    says(
        two.generate(&[[1], [2]], wrong),
        &["2 prompts", "3 samples"],
    )?;
    two.generate(&[[1], [2]], Generate::new(1).with("b", b(2)?))?;
    Ok(())
}
