//! Is it praise? Sentences of different lengths, padded, by a transformer encoder: words that turn a
//! sentence into its opposite make it more than counting.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::data::text::{PadSequences, Vocabulary};
use gradus::graph::philox::{Rng, stream};
use gradus::prelude::*;

const WIDTH: usize = 32;
const HEADS: usize = 4;
/// Words of the longest sentence.
const LENGTH: usize = 16;

const THINGS: [&str; 8] = [
    "book", "chapter", "captain", "crew", "voyage", "ship", "whale", "ending",
];
const GOOD: [&str; 8] = [
    "good",
    "great",
    "fine",
    "lovely",
    "superb",
    "brilliant",
    "moving",
    "charming",
];
const BAD: [&str; 8] = [
    "bad", "poor", "dull", "awful", "tedious", "dreadful", "clumsy", "boring",
];
const DEGREES: [&str; 5] = ["", "very", "really", "quite", "so"];
const FILLERS: [&str; 6] = [
    "",
    "to be honest",
    "as far as i know",
    "in my view",
    "i think",
    "last year",
];
const DENIALS: [&str; 4] = ["", "not", "never", "hardly"];

/// A sentence, and whether it praises: 1 or 0.
fn sentence(rng: &mut Rng) -> (String, i32) {
    let mut pick = |words: &[&'static str]| {
        let word = rng.below(u32::try_from(words.len()).unwrap_or(1));
        words[word as usize]
    };
    let good = pick(&["", "good"]) == "good";
    let (filler, thing, denial) = (pick(&FILLERS), pick(&THINGS), pick(&DENIALS));
    let (degree, what) = (pick(&DEGREES), pick(if good { &GOOD } else { &BAD }));
    let mut text = format!("{filler} the {thing} was {denial} {degree} {what}");
    let mut praise = good == denial.is_empty();
    // What follows has the last word.
    match pick(&["", "", "but it is", "but nobody says it is"]) {
        "" => {}
        turn => {
            let good = pick(&["", "good"]) == "good";
            let what = pick(if good { &GOOD } else { &BAD });
            text = format!("{text} {turn} {what}");
            praise = good != turn.contains("nobody");
        }
    }
    (text, i32::from(praise))
}

/// Different sentences with their labels.
pub(crate) fn sentences(count: usize, seed: u64) -> Vec<(String, i32)> {
    let mut rng = Rng::new(seed, stream("sentences", 0));
    let mut all = std::collections::BTreeMap::new();
    while all.len() < count {
        let (text, label) = sentence(&mut rng);
        all.insert(text, label);
    }
    let mut all: Vec<_> = all.into_iter().collect();
    rng.shuffle(&mut all);
    all
}

/// The words of all sentences.
fn words() -> Vocabulary {
    let all = [&THINGS[..], &GOOD, &BAD, &DEGREES, &FILLERS, &DENIALS].concat();
    let all = all.into_iter().chain(["the was but it is nobody says"]);
    Vocabulary::words(all).special(["<pad>"]).unknown("<unk>")
}

/// Sentences as tokens and their mask.
fn tokens<T: AsRef<str>>(texts: &[T]) -> Result<Batch, gradus::Error> {
    let words = words();
    let rows = texts.iter().map(|text| words.encode(text.as_ref()));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(PadSequences::with(0)
        .length(LENGTH)
        .truncate()
        .batch(&rows)?)
}

pub(crate) fn data(sentences: &[(String, i32)]) -> Result<Dataset, gradus::Error> {
    let (texts, labels): (Vec<&str>, Vec<i32>) = sentences
        .iter()
        .map(|(text, label)| (text.as_str(), *label))
        .unzip();
    Ok(Dataset::from_inputs(
        tokens(&texts)?,
        Array::vector(labels),
    )?)
}

/// Scores of both classes, `[B, 2]`: two layers, and the mean of the words that there are.
fn network<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let mask = inputs.get(scope.graph(), TOKEN_MASK);
    let embedding = Embedding::new(words().len(), WIDTH).padding_idx(0);
    let mut x = scope.apply("words", &embedding, inputs.get(scope.graph(), TOKENS));
    x = scope.apply("positions", &LearnedPositions::new(LENGTH), x);
    let layer = TransformerEncoderLayer::new(HEADS).dropout(0.1);
    for i in 0..2 {
        let scope = scope.child("layers").child(&i.to_string());
        x = layer.encode(&scope, x, Attend::new().keys(mask));
    }
    let counts = mask.cast(DType::F32).unsqueeze(-1);
    let mean = (x * counts).sum(&[1]) / counts.sum(&[1]);
    scope.apply("head", &Dense::new(2), mean).into()
}

pub(crate) fn model(device: Device, data: &Dataset) -> Result<Model, gradus::Error> {
    Functional::new(network).compile(
        Compile::for_data(data)
            .device(device)
            .loss(CrossEntropy::new())
            .optimizer(AdamW::new(2e-3))
            .metric(Accuracy::new())
            .batch(32)
            .seed(7),
    )
}

fn main() -> anyhow::Result<()> {
    let sentences = sentences(4000, 1);
    let (train, test) = sentences.split_at(3200);
    let mut model = model(Device::best()?, &data(train)?)?;
    println!("{}", model.fit(&data(train)?, Fit::epochs(6))?);
    println!("{}", model.evaluate(&data(test)?)?);
    let texts = [
        "the whale was not bad",
        "i think the book was good but it is dull",
    ];
    for (text, class) in texts.iter().zip(model.predict_classes(&tokens(&texts)?)?) {
        println!("{text}: {}", ["no praise", "praise"][class as usize]);
    }
    Ok(())
}
