//! Training steps of a multilayer perceptron with ReLUs: mean cross-entropy, Adam.

use serde::{Deserialize, Serialize};

use crate::Expected;
use crate::data::{integers, symmetric, transpose, uniform};

/// Inputs and labels are few but occur in every combination, so that a network that runs for
/// thousands of steps never learns them by heart: gradients would fall below what processors are
/// fast at.
const INPUTS: u32 = 4;
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
}

pub const ADAM: Adam = Adam {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mlp {
    /// From inputs to classes.
    pub widths: Vec<usize>,
    pub batch: usize,
}

/// How a layer starts: biases are 0.
pub struct Dense {
    pub inputs: usize,
    pub outputs: usize,
    /// `[outputs, inputs]`, uniform in ±√(6/inputs).
    pub weight: Vec<f32>,
}

impl Dense {
    /// `[inputs, outputs]`.
    pub fn transposed(&self) -> Vec<f32> {
        transpose(&self.weight, self.inputs)
    }
}

impl Mlp {
    pub(crate) fn name(&self) -> String {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        format!("mlp {} batch {}", widths.join("-"), self.batch)
    }

    pub fn layers(&self) -> Vec<Dense> {
        let layer = |(stream, widths): (u32, &[usize])| {
            let [inputs, outputs] = [widths[0], widths[1]];
            let bound = (6.0 / inputs as f64).sqrt() as f32;
            let weight = symmetric(stream, inputs * outputs, bound);
            Dense {
                inputs,
                outputs,
                weight,
            }
        };
        (100..).zip(self.widths.windows(2)).map(layer).collect()
    }

    pub fn classes(&self) -> usize {
        self.widths.last().copied().unwrap_or_default()
    }

    /// Inputs `[batch, width]`; step `i` takes those at `i` modulo their number.
    pub fn inputs(&self) -> Vec<Vec<f32>> {
        let count = self.batch * self.widths[0];
        (0..INPUTS).map(|i| uniform(10 + i, count)).collect()
    }

    /// Labels `[batch]`; step `i` takes those at `i` modulo their number.
    pub fn labels(&self) -> Vec<Vec<usize>> {
        let labels = |i| integers(20 + i, self.batch, self.classes());
        (0..LABELS).map(labels).collect()
    }

    /// Labels as rows `[batch, classes]` with a single 1.
    pub fn one_hot(&self) -> Vec<Vec<f32>> {
        let row = |label| (0..self.classes()).map(move |class| f32::from(class == label));
        let rows = |labels: Vec<usize>| labels.into_iter().flat_map(row).collect();
        self.labels().into_iter().map(rows).collect()
    }

    /// The losses of the first steps. They may be as far off as those of a network whose weights
    /// were nudged: contestants sum in different orders, and the deeper a network, the more a
    /// difference grows, since Adam turns a gradient near 0 into a step of full length either way.
    pub(crate) fn expected(&self) -> Vec<Expected> {
        let layers: Vec<Layer> = self.layers().iter().map(Layer::new).collect();
        let mut nudged = layers.clone();
        for (stream, layer) in (200..).zip(&mut nudged) {
            let nudges = symmetric(stream, layer.weight.value.len(), NUDGE);
            for (weight, nudge) in layer.weight.value.iter_mut().zip(nudges) {
                *weight *= 1.0 + f64::from(nudge);
            }
        }
        let (losses, nudged) = (self.losses(layers), self.losses(nudged));
        let mut drift: f64 = 0.0;
        losses
            .zip(nudged)
            .map(|(value, nudged)| {
                drift = drift.max((value - nudged).abs());
                Expected {
                    value,
                    tolerance: SLACK * (f64::from(NUDGE) * value + drift),
                }
            })
            .collect()
    }

    fn losses(&self, mut layers: Vec<Layer>) -> impl Iterator<Item = f64> {
        let (inputs, labels) = (self.inputs(), self.labels());
        (0..CHECKED_STEPS).map(move |step| {
            let x = inputs[step % inputs.len()].iter().copied().map(f64::from);
            let y = &labels[step % labels.len()];
            train(&mut layers, x.collect(), y, step)
        })
    }
}

/// A layer of the definition in f64, weight `[inputs, outputs]`.
#[derive(Clone)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weight: Parameter,
    bias: Parameter,
}

/// A parameter with Adam's two moments.
#[derive(Clone)]
struct Parameter {
    value: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
}

impl Layer {
    fn new(dense: &Dense) -> Self {
        let weight = dense.transposed().into_iter().map(f64::from).collect();
        Self {
            inputs: dense.inputs,
            outputs: dense.outputs,
            weight: Parameter::new(weight),
            bias: Parameter::new(vec![0.0; dense.outputs]),
        }
    }
}

impl Parameter {
    fn new(value: Vec<f64>) -> Self {
        let zeros = vec![0.0; value.len()];
        Self {
            value,
            mean: zeros.clone(),
            square: zeros,
        }
    }

    /// Kingma & Ba (2015), arXiv:1412.6980, algorithm 1; steps count from 0.
    fn update(&mut self, gradient: &[f64], step: usize) {
        let Adam {
            learning_rate,
            beta1,
            beta2,
            eps,
        } = ADAM;
        let correction = |beta: f64| 1.0 - beta.powi(step as i32 + 1);
        for (i, g) in gradient.iter().enumerate() {
            self.mean[i] += (1.0 - beta1) * (g - self.mean[i]);
            self.square[i] += (1.0 - beta2) * (g * g - self.square[i]);
            let mean = self.mean[i] / correction(beta1);
            let square = self.square[i] / correction(beta2);
            self.value[i] -= learning_rate * mean / (square.sqrt() + eps);
        }
    }
}

/// One step: the loss before the update.
fn train(layers: &mut [Layer], x: Vec<f64>, labels: &[usize], step: usize) -> f64 {
    let batch = labels.len();
    let last = layers.len() - 1;
    let mut activations = vec![x];
    for (l, layer) in layers.iter().enumerate() {
        let mut y = product(
            &activations[l],
            &layer.weight.value,
            layer.inputs,
            layer.outputs,
        );
        for row in y.chunks_exact_mut(layer.outputs) {
            for (y, bias) in row.iter_mut().zip(&layer.bias.value) {
                *y += bias;
                if l < last {
                    *y = y.max(0.0);
                }
            }
        }
        activations.push(y);
    }
    let mut delta = activations.pop().unwrap_or_default();
    let mut loss = 0.0;
    for (row, &label) in delta.chunks_exact_mut(layers[last].outputs).zip(labels) {
        let sum: f64 = row.iter().map(|y| y.exp()).sum();
        loss -= (row[label].exp() / sum).ln() / batch as f64;
        row.iter_mut()
            .for_each(|y| *y = y.exp() / sum / batch as f64);
        row[label] -= 1.0 / batch as f64;
    }
    for (layer, x) in layers.iter_mut().zip(&activations).rev() {
        let d_weight = product(&transpose(x, layer.inputs), &delta, batch, layer.outputs);
        let mut d_bias = vec![0.0; layer.outputs];
        for row in delta.chunks_exact(layer.outputs) {
            d_bias.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
        }
        let weight = transpose(&layer.weight.value, layer.outputs);
        delta = product(&delta, &weight, layer.outputs, layer.inputs);
        // Past a ReLU; the gradient of the inputs of the first layer is not used.
        delta
            .iter_mut()
            .zip(x)
            .filter(|(_, x)| **x <= 0.0)
            .for_each(|(d, _)| *d = 0.0);
        layer.weight.update(&d_weight, step);
        layer.bias.update(&d_bias, step);
    }
    loss
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
