//! What networks that are trained have in common: mean cross-entropy, Adam or AdamW, and how a loss
//! is judged.

use crate::Expected;
use crate::data::{integers, symmetric, transpose, uniform};

/// Inputs and labels are few but occur in every combination, so that a network that runs for
/// thousands of steps never learns them by heart: gradients would fall below what processors are
/// fast at.
pub(crate) const INPUTS: u32 = 4;
const LABELS: u32 = 5;

pub(crate) const CHECKED_STEPS: usize = 10;

/// Share by which weights are nudged, to see how far losses drift.
const NUDGE: f32 = 1e-5;

/// How many such shares and drifts a loss may be off.
const SLACK: f64 = 4.0;

/// Settings of the optimizer.
pub struct Adam {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// Decoupled from the gradient, as in AdamW; 0 is Adam.
    pub weight_decay: f64,
}

/// Of perceptrons and convolutional networks.
pub const ADAM: Adam = Adam {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.0,
};

/// Of transformers.
pub const ADAMW: Adam = Adam {
    learning_rate: 1e-4,
    weight_decay: 0.01,
    ..ADAM
};

/// How a dense layer starts: biases are 0.
#[derive(Clone)]
pub struct Dense {
    pub inputs: usize,
    pub outputs: usize,
    /// `[outputs, inputs]`, uniform in ±√(6/inputs).
    pub weight: Vec<f32>,
}

impl Dense {
    pub(crate) fn new(stream: u32, inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            weight: weight(stream, inputs, outputs),
        }
    }

    /// Three layers whose outputs are thirds of those of this one.
    pub fn thirds(&self) -> [Self; 3] {
        let outputs = self.outputs / 3;
        let size = outputs * self.inputs;
        [0, 1, 2].map(|part| Self {
            inputs: self.inputs,
            outputs,
            weight: self.weight[part * size..(part + 1) * size].to_vec(),
        })
    }

    /// `[inputs, outputs]`.
    pub fn transposed(&self) -> Vec<f32> {
        transpose(&self.weight, self.inputs)
    }
}

/// For each of the outputs as many weights as enter it.
pub(crate) fn weight(stream: u32, inputs: usize, outputs: usize) -> Vec<f32> {
    let bound = (6.0 / inputs as f64).sqrt() as f32;
    symmetric(stream, inputs * outputs, bound)
}

/// Inputs of `count` elements; step `i` takes those at `i` modulo their number.
pub(crate) fn inputs(count: usize) -> Vec<Vec<f32>> {
    (0..INPUTS).map(|i| uniform(10 + i, count)).collect()
}

/// Labels `[batch]`; step `i` takes those at `i` modulo their number.
pub(crate) fn labels(batch: usize, classes: usize) -> Vec<Vec<usize>> {
    let labels = |i| integers(20 + i, batch, classes);
    (0..LABELS).map(labels).collect()
}

/// Labels as rows `[batch, classes]` with a single 1.
pub(crate) fn one_hot(batch: usize, classes: usize) -> Vec<Vec<f32>> {
    let row = |label| (0..classes).map(move |class| f32::from(class == label));
    let rows = |labels: Vec<usize>| labels.into_iter().flat_map(row).collect();
    labels(batch, classes).into_iter().map(rows).collect()
}

/// A layer of a definition in f64.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) weight: Parameter,
    /// Empty where there is none.
    pub(crate) bias: Parameter,
    outputs: usize,
}

/// A parameter with Adam's two moments.
#[derive(Clone)]
pub(crate) struct Parameter {
    pub(crate) value: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
    rule: &'static Adam,
}

impl Layer {
    pub(crate) fn new(weight: Vec<f32>, outputs: usize, rule: &'static Adam) -> Self {
        Self {
            bias: Parameter::new(vec![0.0; outputs], rule),
            ..Self::without_bias(weight, outputs, rule)
        }
    }

    pub(crate) fn without_bias(weight: Vec<f32>, outputs: usize, rule: &'static Adam) -> Self {
        Self {
            weight: Parameter::new(wide(&weight), rule),
            bias: Parameter::new(Vec::new(), rule),
            outputs,
        }
    }
}

impl Parameter {
    fn new(value: Vec<f64>, rule: &'static Adam) -> Self {
        let zeros = vec![0.0; value.len()];
        Self {
            value,
            mean: zeros.clone(),
            square: zeros,
            rule,
        }
    }

    /// Kingma & Ba (2015), arXiv:1412.6980, algorithm 1, with the decay of Loshchilov & Hutter
    /// (2017), arXiv:1711.05101, algorithm 2; steps count from 0.
    pub(crate) fn update(&mut self, gradient: &[f64], step: usize) {
        let Adam {
            learning_rate,
            beta1,
            beta2,
            eps,
            weight_decay,
        } = *self.rule;
        let correction = |beta: f64| 1.0 - beta.powi(step as i32 + 1);
        for (i, g) in gradient.iter().enumerate() {
            self.mean[i] += (1.0 - beta1) * (g - self.mean[i]);
            self.square[i] += (1.0 - beta2) * (g * g - self.square[i]);
            let mean = self.mean[i] / correction(beta1);
            let square = self.square[i] / correction(beta2);
            self.value[i] *= 1.0 - learning_rate * weight_decay;
            self.value[i] -= learning_rate * mean / (square.sqrt() + eps);
        }
    }
}

/// The losses of the first steps, where `train` takes inputs, labels and the number of a step and
/// returns the loss before the update.
///
/// They may be as far off as those of a network whose weights were nudged: contestants sum in
/// different orders, and the deeper a network, the more a difference grows, since Adam turns a
/// gradient near 0 into a step of full length either way.
pub(crate) fn expected<T>(
    layers: Vec<Layer>,
    inputs: &[Vec<T>],
    labels: &[Vec<usize>],
    train: impl Fn(&mut [Layer], &[T], &[usize], usize) -> f64,
) -> Vec<Expected> {
    let mut nudged = layers.clone();
    for (stream, layer) in (200..).zip(&mut nudged) {
        let nudges = symmetric(stream, layer.weight.value.len(), NUDGE);
        for (weight, nudge) in layer.weight.value.iter_mut().zip(nudges) {
            *weight *= 1.0 + f64::from(nudge);
        }
    }
    let losses = |mut layers: Vec<Layer>| {
        let train = &train;
        (0..CHECKED_STEPS).map(move |step| {
            let x = &inputs[step % inputs.len()];
            let y = &labels[step % labels.len()];
            train(&mut layers, x, y, step)
        })
    };
    let mut drift: f64 = 0.0;
    losses(layers)
        .zip(losses(nudged))
        .map(|(value, nudged)| {
            drift = drift.max((value - nudged).abs());
            Expected {
                value,
                tolerance: SLACK * (f64::from(NUDGE) * value + drift),
            }
        })
        .collect()
}

/// `y = x · weight + bias` with a weight `[inputs, outputs]`.
pub(crate) fn dense(layer: &Layer, x: &[f64]) -> Vec<f64> {
    let outputs = layer.outputs;
    let inputs = layer.weight.value.len() / outputs;
    let mut y = product(x, &layer.weight.value, inputs, outputs);
    for row in y.chunks_exact_mut(outputs) {
        for (y, bias) in row.iter_mut().zip(&layer.bias.value) {
            *y += bias;
        }
    }
    y
}

/// Updates a dense layer and returns the gradient of its inputs.
pub(crate) fn dense_backward(layer: &mut Layer, x: &[f64], delta: &[f64], step: usize) -> Vec<f64> {
    let outputs = layer.outputs;
    let inputs = layer.weight.value.len() / outputs;
    let batch = delta.len() / outputs;
    let d_weight = product(&transpose(x, inputs), delta, batch, outputs);
    let mut d_bias = vec![0.0; layer.bias.value.len()];
    for row in delta.chunks_exact(outputs) {
        d_bias.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
    }
    let weight = transpose(&layer.weight.value, outputs);
    let d_x = product(delta, &weight, outputs, inputs);
    layer.weight.update(&d_weight, step);
    layer.bias.update(&d_bias, step);
    d_x
}

/// The mean cross-entropy of logits `[batch, classes]`, which become its gradient.
pub(crate) fn cross_entropy(logits: &mut [f64], labels: &[usize]) -> f64 {
    let batch = labels.len();
    let classes = logits.len() / batch;
    let mut loss = 0.0;
    for (row, &label) in logits.chunks_exact_mut(classes).zip(labels) {
        let sum: f64 = row.iter().map(|y| y.exp()).sum();
        loss -= (row[label].exp() / sum).ln() / batch as f64;
        row.iter_mut()
            .for_each(|y| *y = y.exp() / sum / batch as f64);
        row[label] -= 1.0 / batch as f64;
    }
    loss
}

pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

pub(crate) fn relu(values: &mut [f64]) {
    values.iter_mut().for_each(|y| *y = y.max(0.0));
}

/// The gradient past a ReLU with these results.
pub(crate) fn relu_backward(delta: &mut [f64], y: &[f64]) {
    let dead = delta.iter_mut().zip(y).filter(|(_, y)| **y <= 0.0);
    dead.for_each(|(d, _)| *d = 0.0);
}

/// `[…, inner] · [inner, columns]`.
fn product(a: &[f64], b: &[f64], inner: usize, columns: usize) -> Vec<f64> {
    let mut c = vec![0.0; a.len() / inner * columns];
    for (a, c) in a.chunks_exact(inner).zip(c.chunks_exact_mut(columns)) {
        for (a, b) in a.iter().zip(b.chunks_exact(columns)) {
            c.iter_mut().zip(b).for_each(|(c, b)| *c += a * b);
        }
    }
    c
}
