//! Training steps of a decoder of tokens as GPT-2: learned positions, causal attention and a hidden
//! layer of four times the width with exact GELU, each after a layer norm and beside a residual; a
//! last norm and an output layer without bias; mean cross-entropy of all positions, AdamW on all
//! parameters.

use std::f64::consts::{FRAC_2_SQRT_PI, SQRT_2};

use serde::{Deserialize, Serialize};

use crate::Expected;
use crate::data::{integers, symmetric};
use crate::training::{self, ADAMW, Dense, Layer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpt {
    /// How many different ones there are.
    pub tokens: usize,
    pub width: usize,
    pub heads: usize,
    pub layers: usize,
    pub batch: usize,
    pub length: usize,
}

/// How the dense layers of one transformer layer start; its norms start as 1 and 0.
pub struct Block {
    /// To queries, keys and values, one after the other, each head by head.
    pub qkv: Dense,
    pub out: Dense,
    pub up: Dense,
    pub down: Dense,
}

const EPS: f64 = 1e-5;

/// The layers of one block in the definition: norm, qkv, out, norm, up, down.
const BLOCK: usize = 6;

impl Gpt {
    pub(crate) fn name(&self) -> String {
        let Self {
            width,
            layers,
            batch,
            length,
            ..
        } = self;
        format!("gpt {layers}×{width} batch {batch}×{length}")
    }

    /// Vectors of tokens `[tokens, width]`, uniform in ±1.
    pub fn table(&self) -> Vec<f32> {
        symmetric(100, self.tokens * self.width, 1.0)
    }

    /// Vectors of positions `[length, width]`, uniform in ±1.
    pub fn positions(&self) -> Vec<f32> {
        symmetric(101, self.length * self.width, 1.0)
    }

    pub fn blocks(&self) -> Vec<Block> {
        let width = self.width;
        let block = |l: usize| {
            let dense = |k, inputs, outputs| Dense::new(102 + 4 * l as u32 + k, inputs, outputs);
            Block {
                qkv: dense(0, width, 3 * width),
                out: dense(1, width, width),
                up: dense(2, width, 4 * width),
                down: dense(3, 4 * width, width),
            }
        };
        (0..self.layers).map(block).collect()
    }

    /// The output layer, which has no bias.
    pub fn head(&self) -> Dense {
        Dense::new(102 + 4 * self.layers as u32, self.width, self.tokens)
    }

    /// Tokens `[batch, length]`; step `i` takes those at `i` modulo their number.
    pub fn inputs(&self) -> Vec<Vec<usize>> {
        let inputs = |i| integers(10 + i, self.batch * self.length, self.tokens);
        (0..training::INPUTS).map(inputs).collect()
    }

    /// Tokens `[batch, length]` that come next; step `i` takes those at `i` modulo their number.
    pub fn labels(&self) -> Vec<Vec<usize>> {
        training::labels(self.batch * self.length, self.tokens)
    }

    /// The losses of the first steps.
    pub(crate) fn expected(&self) -> Vec<Expected> {
        let dense = |dense: &Dense| Layer::new(dense.transposed(), dense.outputs, &ADAMW);
        let norm = || Layer::new(vec![1.0; self.width], self.width, &ADAMW);
        let mut layers = vec![
            Layer::without_bias(self.table(), self.width, &ADAMW),
            Layer::without_bias(self.positions(), self.width, &ADAMW),
        ];
        for block in self.blocks() {
            layers.extend([norm(), dense(&block.qkv), dense(&block.out)]);
            layers.extend([norm(), dense(&block.up), dense(&block.down)]);
        }
        let head = self.head();
        layers.push(norm());
        layers.push(Layer::without_bias(head.transposed(), self.tokens, &ADAMW));
        let train = |layers: &mut [Layer], tokens: &[usize], labels: &[usize], step| {
            self.train(layers, tokens, labels, step)
        };
        training::expected(layers, &self.inputs(), &self.labels(), train)
    }

    /// One step: the loss before the update.
    fn train(&self, layers: &mut [Layer], tokens: &[usize], labels: &[usize], step: usize) -> f64 {
        let (vectors, layers) = layers.split_at_mut(2);
        let (blocks, last) = layers.split_at_mut(BLOCK * self.layers);
        let mut x: Vec<f64> = Vec::new();
        for (i, token) in tokens.iter().enumerate() {
            let row = |l: usize, i: usize| &vectors[l].weight.value[i * self.width..];
            let pairs = row(0, *token).iter().zip(row(1, i % self.length));
            x.extend(
                pairs
                    .take(self.width)
                    .map(|(token, position)| token + position),
            );
        }
        let mut activations = Vec::new();
        for block in blocks.chunks_exact(BLOCK) {
            let seen = self.forward(block, x);
            x = plus(training::dense(&block[5], &seen.hidden), &seen.between);
            activations.push(seen);
        }
        let y = norm(&last[0], &x);
        let mut delta = training::dense(&last[1], &y);
        let loss = training::cross_entropy(&mut delta, labels);
        delta = training::dense_backward(&mut last[1], &y, &delta, step);
        delta = norm_backward(&mut last[0], &x, &delta, step);
        let blocks = blocks.chunks_exact_mut(BLOCK);
        for (block, seen) in blocks.zip(&activations).rev() {
            delta = self.backward(block, seen, delta, step);
        }
        let positions: Vec<usize> = (0..tokens.len()).map(|i| i % self.length).collect();
        for (layer, rows) in vectors.iter_mut().zip([tokens, &positions]) {
            let mut gradient = vec![0.0; layer.weight.value.len()];
            for (row, d) in rows.iter().zip(delta.chunks_exact(self.width)) {
                let sums = gradient[row * self.width..].iter_mut();
                sums.zip(d).for_each(|(sum, d)| *sum += d);
            }
            layer.weight.update(&gradient, step);
        }
        loss
    }

    fn forward(&self, block: &[Layer], x: Vec<f64>) -> Seen {
        let normed = norm(&block[0], &x);
        let qkv = training::dense(&block[1], &normed);
        let attended = self.attention(&qkv);
        let between = plus(training::dense(&block[2], &attended), &x);
        let normed_between = norm(&block[3], &between);
        let up = training::dense(&block[4], &normed_between);
        let hidden = up.iter().map(|&x| x * normal(x)).collect();
        Seen {
            x,
            normed,
            qkv,
            attended,
            between,
            normed_between,
            up,
            hidden,
        }
    }

    /// Updates a block and returns the gradient of its inputs.
    fn backward(&self, block: &mut [Layer], seen: &Seen, d_y: Vec<f64>, step: usize) -> Vec<f64> {
        let mut d = training::dense_backward(&mut block[5], &seen.hidden, &d_y, step);
        let density = |x: f64| (-x * x / 2.0).exp() * FRAC_2_SQRT_PI / (2.0 * SQRT_2);
        for (d, &x) in d.iter_mut().zip(&seen.up) {
            *d *= normal(x) + x * density(x);
        }
        d = training::dense_backward(&mut block[4], &seen.normed_between, &d, step);
        let d_between = plus(norm_backward(&mut block[3], &seen.between, &d, step), &d_y);
        d = training::dense_backward(&mut block[2], &seen.attended, &d_between, step);
        d = self.attention_backward(&seen.qkv, &d);
        d = training::dense_backward(&mut block[1], &seen.normed, &d, step);
        plus(norm_backward(&mut block[0], &seen.x, &d, step), &d_between)
    }

    /// `[rows, 3 width] -> [rows, width]`.
    fn attention(&self, qkv: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; qkv.len() / 3];
        self.queries(qkv.len(), |query| {
            for (key, p) in query.keys().zip(self.probabilities(qkv, &query)) {
                let value = &qkv[self.at(key, 2, query.head)];
                add(&mut y[self.result(&query)], p, value);
            }
        });
        y
    }

    fn attention_backward(&self, qkv: &[f64], d_y: &[f64]) -> Vec<f64> {
        let scale = 1.0 / ((self.width / self.heads) as f64).sqrt();
        let mut d = vec![0.0; qkv.len()];
        self.queries(qkv.len(), |query| {
            let d_y = &d_y[self.result(&query)];
            let probabilities = self.probabilities(qkv, &query);
            let keys = || query.keys().zip(&probabilities);
            let d_p: Vec<f64> = query
                .keys()
                .map(|key| dot(d_y, &qkv[self.at(key, 2, query.head)]))
                .collect();
            let mean = dot(&probabilities, &d_p);
            for ((key, p), d_p) in keys().zip(d_p) {
                let d_score = p * (d_p - mean) * scale;
                let [q, k, v] = [(query.row, 0), (key, 1), (key, 2)]
                    .map(|(row, part)| self.at(row, part, query.head));
                add(&mut d[v], *p, d_y);
                add(&mut d[q.clone()], d_score, &qkv[k.clone()]);
                add(&mut d[k], d_score, &qkv[q]);
            }
        });
        d
    }

    /// The softmax of a query's scores, of all keys that it sees.
    fn probabilities(&self, qkv: &[f64], query: &Query) -> Vec<f64> {
        let scale = 1.0 / ((self.width / self.heads) as f64).sqrt();
        let q = &qkv[self.at(query.row, 0, query.head)];
        let score = |key| dot(q, &qkv[self.at(key, 1, query.head)]) * scale;
        let scores: Vec<f64> = query.keys().map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers = scores.iter().map(|score| (score - largest).exp());
        let sum: f64 = powers.clone().sum();
        powers.map(|power| power / sum).collect()
    }

    fn queries(&self, count: usize, mut each: impl FnMut(Query)) {
        for row in 0..count / (3 * self.width) {
            let first = row - row % self.length;
            (0..self.heads).for_each(|head| each(Query { first, row, head }));
        }
    }

    /// Where queries (0), keys (1) or values (2) of a row and a head lie.
    fn at(&self, row: usize, part: usize, head: usize) -> std::ops::Range<usize> {
        let size = self.width / self.heads;
        let start = (3 * row + part) * self.width + head * size;
        start..start + size
    }

    fn result(&self, query: &Query) -> std::ops::Range<usize> {
        let size = self.width / self.heads;
        let start = query.row * self.width + query.head * size;
        start..start + size
    }
}

/// What the gradient of a block needs.
struct Seen {
    x: Vec<f64>,
    normed: Vec<f64>,
    qkv: Vec<f64>,
    attended: Vec<f64>,
    between: Vec<f64>,
    normed_between: Vec<f64>,
    up: Vec<f64>,
    hidden: Vec<f64>,
}

struct Query {
    /// The first row of its sequence.
    first: usize,
    row: usize,
    head: usize,
}

impl Query {
    /// The rows that it sees.
    fn keys(&self) -> impl Iterator<Item = usize> + use<> {
        self.first..=self.row
    }
}

/// A row less its mean and by its deviation, and one by that.
fn standard(x: &[f64]) -> (Vec<f64>, f64) {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let factor = 1.0 / (variance + EPS).sqrt();
    (x.iter().map(|x| (x - mean) * factor).collect(), factor)
}

fn norm(layer: &Layer, x: &[f64]) -> Vec<f64> {
    let (weight, bias) = (&layer.weight.value, &layer.bias.value);
    let row = |x: &[f64]| {
        let affine = weight.iter().zip(bias);
        let pairs = standard(x).0.into_iter().zip(affine);
        pairs.map(|(x, (w, b))| x * w + b).collect::<Vec<f64>>()
    };
    x.chunks_exact(weight.len()).flat_map(row).collect()
}

/// Updates a norm and returns the gradient of its inputs.
fn norm_backward(layer: &mut Layer, x: &[f64], d_y: &[f64], step: usize) -> Vec<f64> {
    let width = layer.weight.value.len();
    let (mut d_weight, mut d_bias) = (vec![0.0; width], vec![0.0; width]);
    let mut d_x = Vec::new();
    for (x, d_y) in x.chunks_exact(width).zip(d_y.chunks_exact(width)) {
        let (x, factor) = standard(x);
        add(&mut d_bias, 1.0, d_y);
        let products = d_y.iter().zip(&x).map(|(d, x)| d * x);
        d_weight
            .iter_mut()
            .zip(products)
            .for_each(|(sum, d)| *sum += d);
        let weighted = d_y.iter().zip(&layer.weight.value);
        let d: Vec<f64> = weighted.map(|(d, w)| d * w).collect();
        let mean = d.iter().sum::<f64>() / width as f64;
        let slope = dot(&d, &x) / width as f64;
        d_x.extend(
            d.iter()
                .zip(&x)
                .map(|(d, x)| (d - mean - x * slope) * factor),
        );
    }
    layer.weight.update(&d_weight, step);
    layer.bias.update(&d_bias, step);
    d_x
}

/// Φ, the distribution of the normal distribution: x·Φ(x) is GELU.
///
/// Source: G. Marsaglia, *Evaluating the Normal Distribution* (2004), whose terms are all positive.
fn normal(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term, mut k) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() * FRAC_2_SQRT_PI / (2.0 * SQRT_2)
}

fn plus(mut a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    add(&mut a, 1.0, b);
    a
}

fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    let pairs = sum.iter_mut().zip(values);
    pairs.for_each(|(sum, v)| *sum += factor * v);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
