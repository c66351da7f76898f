//! BERT by Hugging Face's names: a small one is sound on every device; with the weights of
//! all-MiniLM-L6-v2, where a folder has them, it computes what `transformers` does
//! (`tests/golden/minilm.py`).
//!
//! What takes minutes is ignored:
//! `cargo test --release --all-features --test minilm -- --ignored verify/full`.

use std::path::PathBuf;
use std::sync::Arc;

use gradus::prelude::*;
use libtest_mimic::{Arguments, Failed, Trial};
use support::golden::File;
use support::gpu::{Check, Gpu};

#[allow(dead_code, reason = "an example also has a `main`")]
#[path = "../examples/minilm.rs"]
mod minilm;
mod support;

use minilm::{Bert, LONGEST};

fn ensure(holds: bool, found: impl std::fmt::Debug) -> Result<(), Failed> {
    match holds {
        true => Ok(()),
        false => Err(format!("found {found:?}").into()),
    }
}

fn passed(model: &mut Model) -> Result<(), Failed> {
    let found = model.verify()?;
    match found.passed() {
        true => Ok(()),
        false => Err(found.to_string().into()),
    }
}

/// The losses of steps over one batch.
fn tuned(model: &mut Model, batch: &Batch, steps: usize) -> Result<Vec<f64>, Failed> {
    let mut losses = Vec::new();
    for _ in 0..steps {
        let ticket = model.run("tune", batch)?;
        losses.push(model.wait(ticket)?.loss());
    }
    Ok(losses)
}

fn is_sound_when_small(device: &Device) -> Result<(), Failed> {
    let pairs = [["the sea", "a whale"], ["the sky", "a gull, a gull"]];
    let training = TokenizerTraining::word_piece(60);
    let tokenizer = training.train(pairs.iter().flatten())?.length(7)?;
    let bert = Bert {
        tokens: tokenizer.vocabulary(),
        positions: 9,
        types: 2,
        width: 24,
        layers: 2,
        heads: 3,
        hidden: 40,
        eps: 1e-12,
        dropout: 0.1,
    };
    passed(&mut bert.model(device.clone(), [2, 7], AdamW::new(1e-3))?)?;
    // Dropout is too much noise for so small a network.
    let plain = Bert {
        dropout: 0.0,
        ..bert
    };
    let mut model = plain.model(device.clone(), [2, 7], AdamW::new(1e-3))?;
    let losses = tuned(&mut model, &minilm::pairs(&tokenizer, &pairs)?, 20)?;
    ensure(losses[19] < 0.5 * losses[0], losses)?;
    passed(&mut model)
}

/// The folder that `GRADUS_TEST_MINILM` names, if it has the files.
fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var("GRADUS_TEST_MINILM").ok()?);
    let names = ["model.safetensors", "tokenizer.json", "config.json"];
    let has = |name| folder.join(name).is_file();
    names.into_iter().all(has).then_some(folder)
}

struct Stored {
    folder: PathBuf,
    golden: Arc<File>,
}

impl Stored {
    fn open() -> Result<Self, Failed> {
        Ok(Self {
            folder: folder().ok_or("GRADUS_TEST_MINILM names no folder with the model")?,
            golden: File::open("minilm"),
        })
    }

    /// A list of the manifest.
    fn list(&self, name: &str) -> Result<Vec<serde_json::Value>, Failed> {
        let list = self.golden.params()[name].as_array();
        Ok(list.ok_or_else(|| format!("no list `{name}`"))?.clone())
    }

    fn texts(list: &[serde_json::Value]) -> Vec<&str> {
        list.iter().filter_map(serde_json::Value::as_str).collect()
    }

    fn tokenizer(&self, length: usize) -> Result<Tokenizer, Failed> {
        let tokenizer = Tokenizer::open(self.folder.join("tokenizer.json"))?;
        Ok(tokenizer.length(length)?)
    }

    fn model(
        &self,
        device: &Device,
        bert: &Bert,
        sizes: [usize; 2],
        optimizer: impl Optimizer + 'static,
    ) -> Result<Model, Failed> {
        let mut model = bert.model(device.clone(), sizes, optimizer)?;
        let matching = model.load_matching(self.folder.join("model.safetensors"))?;
        let ignored = [
            "embeddings.position_ids",
            "pooler.dense.bias",
            "pooler.dense.weight",
        ];
        ensure(
            matching.missing.is_empty() && matching.unexpected == ignored,
            matching,
        )?;
        Ok(model)
    }

    fn bert(&self) -> Result<Bert, Failed> {
        Ok(Bert::open(&self.folder.join("config.json"))?)
    }
}

fn tokens_are_those_of_transformers() -> Result<(), Failed> {
    let stored = Stored::open()?;
    let (sentences, tokenizer) = (stored.list("sentences")?, stored.tokenizer(LONGEST)?);
    let mut found = Vec::new();
    let mut lengths = Vec::new();
    for text in Stored::texts(&sentences) {
        let ids = tokenizer.encode(text)?.ids;
        lengths.push(i32::try_from(ids.len())?);
        found.extend(ids);
    }
    ensure(lengths.iter().max() == Some(&256), &lengths)?;
    stored
        .golden
        .check("out.lengths", &Array::vector(lengths))?;
    Ok(stored.golden.check("out.ids", &Array::vector(found))?)
}

fn sentences_have_the_stored_vectors(device: &Device) -> Result<(), Failed> {
    let stored = Stored::open()?;
    let sentences = stored.list("sentences")?;
    let batch = stored
        .tokenizer(LONGEST)?
        .batch(Stored::texts(&sentences))?;
    let sizes = [sentences.len().div_ceil(2), LONGEST];
    let mut model = stored.model(device, &stored.bert()?, sizes, Sgd::new(1.0))?;
    let found = model.predict(&batch)?;
    let want = stored.golden.get("out.embeddings");
    let pairs = found.as_f32()?.iter().zip(want.as_f32()?);
    let worst = pairs.map(|(f, w)| (f - w).abs()).fold(0.0, f32::max);
    eprintln!("{device}: at most {worst:.1e} off");
    ensure(found.shape() == want.shape() && worst <= 1e-4, worst)
}

/// Takes minutes.
fn a_step_is_sound() -> Result<(), Failed> {
    let stored = Stored::open()?;
    let bert = stored.bert()?;
    passed(&mut stored.model(&Device::best()?, &bert, [4, 16], AdamW::new(5e-5))?)
}

/// Loss and gradients of a step are those of PyTorch, and a few steps of AdamW lower the loss.
fn sentences_can_be_tuned(device: &Device) -> Result<(), Failed> {
    let stored = Stored::open()?;
    let list = stored.list("pairs")?;
    let pairs = list.iter().filter_map(|pair| {
        let pair = pair.as_array()?;
        Stored::texts(pair).try_into().ok()
    });
    let pairs: Vec<[&str; 2]> = pairs.collect();
    let length = 16;
    let batch = minilm::pairs(&stored.tokenizer(length)?, &pairs)?;
    let sizes = [pairs.len(), length];

    // Of this rate, so that gradients are read off the parameters to the last digits.
    const RATE: f32 = 1e4;
    let plain = Bert {
        dropout: 0.0,
        ..stored.bert()?
    };
    let mut model = stored.model(device, &plain, sizes, Sgd::new(f64::from(RATE)))?;
    let names = stored.list("norms")?;
    let names = Stored::texts(&names);
    let read = |model: &mut Model| -> Result<Vec<Array>, Failed> {
        let arrays = names.iter().map(|name| model.parameter(name));
        Ok(arrays.collect::<Result<_, _>>()?)
    };
    let before = read(&mut model)?;
    let loss = tuned(&mut model, &batch, 1)?[0];
    let golden = &stored.golden;
    golden.check_within("out.loss", &Array::scalar(loss as f32), 1e-4)?;
    let after = read(&mut model)?;
    let mut norms = Vec::new();
    for (name, (before, after)) in names.iter().zip(before.iter().zip(&after)) {
        let pairs = before.as_f32()?.iter().zip(after.as_f32()?);
        let gradient: Vec<f32> = pairs.map(|(b, a)| (b - a) / RATE).collect();
        let square: f64 = gradient.iter().map(|&g| f64::from(g).powi(2)).sum();
        norms.push(square.sqrt() as f32);
        let stored = format!("grad.{name}");
        if golden.names().any(|n| n == stored) {
            let gradient = Array::new(*before.shape(), gradient)?;
            golden.check_within(&stored, &gradient, 1e-4)?;
        }
    }
    golden.check_within("out.norms", &Array::vector(norms), 1e-3)?;
    drop(model);

    let mut model = stored.model(device, &stored.bert()?, sizes, AdamW::new(5e-5))?;
    let losses = tuned(&mut model, &batch, 6)?;
    eprintln!("{device}: losses {losses:.3?}");
    ensure(losses[5] < 0.5 * losses[0], losses)
}

fn main() {
    let gpu = Gpu::from_env();
    let small: Check = is_sound_when_small;
    let mut trials = Vec::from(gpu.both("small", small));
    let tokens = Trial::test("tokens", tokens_are_those_of_transformers);
    let stored = [tokens]
        .into_iter()
        .chain(gpu.both("embed", sentences_have_the_stored_vectors))
        .chain(gpu.both("tune", sentences_can_be_tuned));
    // Shown as ignored where no folder is named.
    let absent = folder().is_none();
    trials.extend(stored.map(|trial| match absent {
        true => trial.with_ignored_flag(true),
        false => trial,
    }));
    trials.push(Trial::test("verify/full", a_step_is_sound).with_ignored_flag(true));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
