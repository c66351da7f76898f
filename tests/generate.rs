//! Generation with what layers keep of earlier tokens, against the whole network on every prefix.
#![allow(clippy::unwrap_used, reason = "a broken test may end in a panic")]

use gradus::nn::{
    Cell, LearnedPositions, MultiHeadAttention, Recurrent, Rotary, SinusoidalPositions,
    TransformerEncoderLayer,
};
use gradus::prelude::*;
use libtest_mimic::{Arguments, Failed};
use support::gpu::{Check, Gpu};

#[path = "generate/mistakes.rs"]
mod mistakes;
#[path = "generate/sampling.rs"]
mod sampling;
mod support;
#[path = "generate/translation.rs"]
mod translation;

const TOKENS: usize = 29;
const WIDTH: usize = 16;
const LENGTH: usize = 24;
/// New tokens for each prompt.
const NEW: usize = 12;

/// A network that scores the next token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Net {
    Learned,
    Sinusoidal,
    Rotary,
    Grouped,
    NormLast,
    Tanh,
    Lstm,
    Gru,
}

const ALL: [Net; 8] = [
    Net::Learned,
    Net::Sinusoidal,
    Net::Rotary,
    Net::Grouped,
    Net::NormLast,
    Net::Tanh,
    Net::Lstm,
    Net::Gru,
];

impl Layer for Net {
    fn forward<'g>(&self, scope: &Scope<'g>, tokens: Var<'g>) -> Var<'g> {
        let mut x = scope.apply("tokens", &Embedding::new(TOKENS, WIDTH), tokens);
        let wide = init::Normal::with_std(0.5);
        let learned = LearnedPositions::new(LENGTH).weight_init(wide);
        let attention = match self {
            Self::Rotary => MultiHeadAttention::new(2).rotary(Rotary::new()),
            Self::Grouped => MultiHeadAttention::new(4).groups(2).rotary(Rotary::new()),
            _ => MultiHeadAttention::new(2),
        };
        let layer = TransformerEncoderLayer::new(2).attention(attention.causal());
        let layer = match self {
            Self::NormLast => layer.norm_last(),
            _ => layer,
        };
        match self {
            Self::Learned | Self::NormLast => x = scope.apply("positions", &learned, x),
            Self::Sinusoidal => x = scope.apply("positions", &SinusoidalPositions, x),
            _ => {}
        }
        let recurrent = |cell| Recurrent::new(cell, WIDTH).layers(2);
        x = match self {
            Self::Tanh => scope.apply("rnn", &recurrent(Cell::Tanh), x),
            Self::Lstm => scope.apply("rnn", &recurrent(Cell::Lstm), x),
            Self::Gru => scope.apply("rnn", &recurrent(Cell::Gru), x),
            _ => {
                let x = scope.apply("layers.0", &layer, x);
                scope.apply("layers.1", &layer, x)
            }
        };
        scope.apply("head", &Dense::new(TOKENS).weight_init(wide), x)
    }
}

fn model(net: Net, device: &Device, length: usize) -> Result<Model, gradus::Error> {
    let settings = Compile::new().input("tokens", length, DType::I32);
    net.compile(settings.device(device.clone()).batch(4).seed(3))
}

/// The scores after a prefix, by the network as a whole.
fn whole(model: &mut Model, prefix: &[i32], length: usize) -> Result<Vec<f32>, Failed> {
    let mut tokens: Vec<i32> = prefix.to_vec();
    tokens.resize(length, 0);
    let scores = model.predict(&Array::new([1, length], tokens)?)?;
    Ok(scores.as_f32()?[(prefix.len() - 1) * TOKENS..][..TOKENS].to_vec())
}

fn first_largest(scores: &[f32]) -> i32 {
    let best = (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
    i32::try_from(best).unwrap()
}

fn prompts() -> Vec<Vec<i32>> {
    vec![vec![5, 17, 3, 28, 11], vec![2], vec![9, 9, 0]]
}

fn close(found: &[f32], expected: &[f32]) -> Result<(), String> {
    let mut pairs = found.iter().zip(expected);
    match pairs.find(|(a, b)| (*a - *b).abs() > 1e-5 * b.abs().max(1.0)) {
        Some((a, b)) => Err(format!("a score is {a}, expected {b}")),
        None => Ok(()),
    }
}

/// Tokens and scores of cached steps are those of the whole network.
fn equals_the_whole(
    net: Net,
    prompts: &[Vec<i32>],
    length: usize,
    device: &Device,
) -> Result<(), Failed> {
    let mut cached = model(net, device, length)?;
    let longest = prompts.iter().map(Vec::len).max().unwrap() + NEW;
    let longest = longest.next_multiple_of(LENGTH).max(length);
    let mut uncached = model(net, device, longest)?;
    let mut sequences = prompts.to_vec();
    let mut steps = cached.generate_stream(prompts, Generate::new(NEW))?;
    while let Some(tokens) = steps.next() {
        let (found, tokens) = (steps.logits()?, tokens?);
        let found = found.as_f32()?.chunks(TOKENS);
        for ((sequence, token), found) in sequences.iter_mut().zip(tokens).zip(found) {
            let scores = whole(&mut uncached, sequence, longest)?;
            close(found, &scores).map_err(|e| format!("{net:?} after {sequence:?}: {e}"))?;
            assert_eq!(token, Some(first_largest(&scores)), "{net:?}");
            sequence.extend(token);
        }
    }
    let new = sequences
        .iter()
        .zip(prompts)
        .map(|(s, p)| s.len() - p.len());
    assert!(new.eq(prompts.iter().map(|_| NEW)));
    Ok(())
}

fn all_networks(device: &Device) -> Result<(), Failed> {
    ALL.iter()
        .try_for_each(|net| equals_the_whole(*net, &prompts(), LENGTH, device))
}

/// Prompts longer than what the model was compiled for are taken in part by part.
fn long_prompts(device: &Device) -> Result<(), Failed> {
    let long: Vec<i32> = (0..34).map(|i| i * i % 29).collect();
    let prompts = [
        long.clone(),
        vec![4],
        long[2..19].to_vec(),
        long[..16].to_vec(),
    ];
    for net in [Net::Rotary, Net::Lstm] {
        equals_the_whole(net, &prompts, 9, device)?;
    }
    Ok(())
}

/// One token for each prompt: no step follows.
fn one_token(device: &Device) -> Result<(), Failed> {
    let mut model = model(Net::Rotary, device, LENGTH)?;
    let one = model.generate(&prompts(), Generate::new(1))?;
    let more = model.generate(&prompts(), Generate::new(3))?;
    for (one, more) in one.iter().zip(&more) {
        assert_eq!((one.len(), one[0]), (1, more[0]));
    }
    Ok(())
}

/// Batches of other sizes and shorter caches make other plans and the same tokens.
fn batches_do_not_matter(device: &Device) -> Result<(), Failed> {
    let mut model = model(Net::Grouped, device, LENGTH)?;
    let together = model.generate(&prompts(), Generate::new(9))?;
    for (prompt, expected) in prompts().iter().zip(&together) {
        let long = model.generate(&[prompt], Generate::new(70))?;
        assert_eq!(long[0][..9], expected[..]);
    }
    Ok(())
}

/// A sequence ends with the first of its stop tokens; the others go on.
fn stop_tokens(device: &Device) -> Result<(), Failed> {
    let mut model = model(Net::Learned, device, LENGTH)?;
    let free = model.generate(&prompts(), Generate::new(12))?;
    let stop = free[1][4];
    let stopped = model.generate(&prompts(), Generate::new(12).stop(stop).stop(TOKENS as i32))?;
    for (free, stopped) in free.iter().zip(&stopped) {
        let end = free.iter().position(|&t| t == stop).map_or(12, |i| i + 1);
        assert_eq!(free[..end], stopped[..]);
    }
    let last = |i: usize| Generate::new(12).stop(free[i][0]);
    let all = last(0).stop(free[1][0]).stop(free[2][0]);
    let mut steps = model.generate_stream(&prompts(), all)?;
    assert!(steps.next().is_some() && steps.next().is_none());
    Ok(())
}

/// Generation after further training has the new weights; training goes on as without it.
fn training_in_between(device: &Device) -> Result<(), Failed> {
    let train = |generates: bool| -> Result<(Model, f64), Failed> {
        let settings = Compile::new()
            .input("tokens", LENGTH, DType::I32)
            .target(LENGTH, DType::I32)
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(1e-2));
        let mut model = Net::Rotary.compile(settings.device(device.clone()).batch(2).seed(3))?;
        let tokens = |shift: usize| {
            let tokens = (0..2 * LENGTH).map(|i| ((i + shift) % 7) as i32);
            Array::new([2, LENGTH], tokens.collect::<Vec<i32>>())
        };
        let batch = Batch::new()
            .with("tokens", tokens(0)?)
            .with(gradus::data::TARGET, tokens(1)?);
        for _ in 0..30 {
            model.step(&batch)?;
            if generates {
                model.generate(&prompts(), Generate::new(2).temperature(1.0))?;
            }
        }
        let loss = model.last_loss()?.unwrap_or(f64::NAN);
        Ok((model, loss))
    };
    let ((mut plain, expected), (mut model, loss)) = (train(false)?, train(true)?);
    assert_eq!(loss, expected);
    let next = model.generate(&[[0, 1, 2, 3]], Generate::new(8))?;
    assert_eq!(next, [[4, 5, 6, 0, 1, 2, 3, 4]]);
    assert_eq!(next, plain.generate(&[[0, 1, 2, 3]], Generate::new(8))?);
    assert_eq!(plain.parameter_names(), model.parameter_names());
    Ok(())
}

fn main() {
    let gpu = Gpu::from_env();
    let checks: [(&str, Check); 11] = [
        ("cached_equals_uncached", all_networks),
        ("long_prompts", long_prompts),
        ("encoder_decoder", translation::equals_the_whole),
        ("one_token", one_token),
        ("batches_do_not_matter", batches_do_not_matter),
        ("stop_tokens", stop_tokens),
        ("training_in_between", training_in_between),
        ("draws_follow_the_scores", sampling::draws_follow_the_scores),
        ("excluded_tokens", sampling::excluded_tokens_are_never_drawn),
        ("same_seed_same_tokens", sampling::same_seed_same_tokens),
        ("mistakes", mistakes::all),
    ];
    let trials = checks
        .into_iter()
        .flat_map(|(name, check)| gpu.both(name, check));
    let mut trials: Vec<_> = trials.collect();
    trials.push(gpu.trial("devices_agree", sampling::devices_agree));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
