//! Dates in words to dates in numbers, by an encoder-decoder transformer: `3rd of march 1984` is
//! `1984-03-03`. Sequences of different lengths, padded; letter by letter.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::data::text::{PadSequences, Vocabulary};
use gradus::graph::philox::{Rng, stream};
use gradus::prelude::*;

#[path = "shared/mod.rs"]
mod shared;

const WIDTH: usize = 64;
const HEADS: usize = 4;
/// Letters of the longest date in words.
const SOURCE: usize = 24;
/// Letters of a date in numbers, and the token before or after them.
const TARGET: usize = 11;

const PAD: i32 = 0;
const START: i32 = 1;
const END: i32 = 2;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Dates in words, of several kinds, and in numbers. No date occurs twice.
pub(crate) fn dates(count: usize, seed: u64) -> Vec<(String, String)> {
    let mut rng = Rng::new(seed, stream("dates", 0));
    let mut days: Vec<u32> = (0..200 * 12 * 28).collect();
    rng.shuffle(&mut days);
    days.truncate(count);
    let date = |day: u32| {
        let (year, month, day) = (1850 + day / (12 * 28), day / 28 % 12 + 1, day % 28 + 1);
        let name = MONTHS[month as usize - 1];
        let ending = match day {
            1 | 21 => "st",
            2 | 22 => "nd",
            3 | 23 => "rd",
            _ => "th",
        };
        let words = match rng.below(6) {
            0 => format!("{day} {name} {year}"),
            1 => format!("{name} {day}, {year}"),
            2 => format!("{day}{ending} of {name} {year}"),
            3 => format!("{} {day} {year}", &name[..3]),
            4 => format!("{day}.{month}.{year}"),
            _ => format!("{month}/{day}/{year}"),
        };
        (words, format!("{year}-{month:02}-{day:02}"))
    };
    days.into_iter().map(date).collect()
}

/// The letters of all dates.
pub(crate) fn letters() -> Vocabulary {
    let all = MONTHS.into_iter().chain(["0123456789 ,./-stndrdthof"]);
    Vocabulary::chars(all).special(["<pad>", "<s>", "</s>"])
}

fn padded(rows: &[Vec<i32>], length: usize, with: i32) -> Result<Array, gradus::Error> {
    Ok(PadSequences::with(with).length(length).array(rows)?)
}

/// Inputs `words` and `so_far`, what comes before each letter of the target.
pub(crate) fn data(dates: &[(String, String)]) -> Result<Dataset, gradus::Error> {
    let letters = letters();
    let (mut words, mut so_far, mut target) = (Vec::new(), Vec::new(), Vec::new());
    for (from, to) in dates {
        words.push(letters.encode(from)?);
        let to = letters.encode(to)?;
        so_far.push([&[START], &to[..]].concat());
        target.push([&to[..], &[END]].concat());
    }
    let inputs = [
        ("words", padded(&words, SOURCE, PAD)?),
        ("so_far", padded(&so_far, TARGET, PAD)?),
    ];
    Ok(Dataset::from_inputs(
        inputs,
        padded(&target, TARGET, IGNORED)?,
    )?)
}

/// Scores of the next letter, `[B, TARGET, letters]`.
fn network<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let letters = Embedding::new(letters().len(), WIDTH).padding_idx(0);
    let embed = |name: &str, tokens: Var<'g>| {
        let x = scope.apply("letters", &letters, tokens);
        scope.apply(name, &LearnedPositions::new(SOURCE), x)
    };
    let words = inputs.get(scope.graph(), "words");
    let so_far = inputs.get(scope.graph(), "so_far");
    let present = words.ne(PAD);
    let encoder = TransformerEncoderLayer::new(HEADS);
    let x = embed("source", words);
    let memory = encoder.encode(&scope.child("encoder"), x, Attend::new().keys(present));
    let decoder = TransformerDecoderLayer::new(HEADS);
    let x = decoder.decode(
        &scope.child("decoder"),
        embed("target", so_far),
        Attend::new(),
        Attend::new().memory(memory).keys(present),
    );
    let x = scope.apply("norm", &LayerNorm::new(), x);
    scope.apply("letters", &letters.unembedding(), x).into()
}

pub(crate) fn model(device: Device, data: &Dataset) -> Result<Model, gradus::Error> {
    Functional::new(network).compile(
        Compile::for_data(data)
            .device(device)
            .loss(CrossEntropy::new().ignore(IGNORED))
            .optimizer(AdamW::new(3e-3).schedule(Warmup::steps(50).then(Cosine::steps(1550))))
            .metric(Accuracy::new())
            .clip_norm(1.0)
            .batch(32)
            .seed(7),
    )
}

/// Translates letter by letter: each is the one of the largest score after those before.
pub(crate) fn translate(model: &mut Model, texts: &[&str]) -> Result<Vec<String>, gradus::Error> {
    let letters = letters();
    let words = texts.iter().map(|text| letters.encode(text));
    let words = padded(&words.collect::<Result<Vec<_>, _>>()?, SOURCE, PAD)?;
    let settings = Generate::new(TARGET).with("words", words).stop(END);
    let found = model.generate(&vec![[START]; texts.len()], settings)?;
    let found = found.iter().map(|tokens| letters.decode(tokens));
    Ok(found.collect::<Result<_, _>>()?)
}

/// The share of dates that are translated without a mistake.
pub(crate) fn exact(model: &mut Model, dates: &[(String, String)]) -> Result<f64, gradus::Error> {
    let words: Vec<&str> = dates.iter().map(|(words, _)| words.as_str()).collect();
    let found = translate(model, &words)?;
    let right = dates
        .iter()
        .zip(found)
        .filter(|((_, to), found)| to == found);
    Ok(right.count() as f64 / dates.len() as f64)
}

fn main() -> anyhow::Result<()> {
    let dates = dates(7000, 1);
    let (train, test) = dates.split_at(6400);
    let mut model = model(Device::best()?, &data(train)?)?;
    println!("{}", model.fit(&data(train)?, Fit::epochs(8))?);
    let share = exact(&mut model, test)?;
    println!(
        "{:.1} % of {} dates translated without a mistake",
        100.0 * share,
        test.len()
    );
    for text in ["29th of august 1997", "jan 5 2001", "12/24/1905"] {
        println!("{text} -> {}", translate(&mut model, &[text])?.join(""));
    }
    Ok(())
}
