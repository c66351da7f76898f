//! Training steps of a convolutional network: twice a convolution of 3×3 that keeps the size,
//! ReLU and the maximum of 2×2, then a dense layer; mean cross-entropy, Adam.

use serde::{Deserialize, Serialize};

use crate::Expected;
use crate::training::{self, ADAM, Dense, Layer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cnn {
    /// Height and width of the images; each pool halves it.
    pub side: usize,
    /// From the images to the last convolution.
    pub channels: Vec<usize>,
    pub classes: usize,
    pub batch: usize,
}

/// How a convolution of 3×3 with a border of zeros starts: biases are 0.
pub struct Conv {
    pub inputs: usize,
    pub outputs: usize,
    /// Height and width of its images.
    pub side: usize,
    /// `[outputs, inputs, 3, 3]`, uniform in ±√(6/(9·inputs)).
    pub weight: Vec<f32>,
}

impl Cnn {
    pub(crate) fn name(&self) -> String {
        let Self { side, batch, .. } = self;
        let widths: Vec<String> = self.channels[1..].iter().map(usize::to_string).collect();
        let [widths, classes] = [widths.join("-"), self.classes.to_string()];
        format!("cnn {side}×{side}-{widths}-{classes} batch {batch}")
    }

    pub fn convolutions(&self) -> Vec<Conv> {
        let conv = |(l, channels): (usize, &[usize])| Conv {
            inputs: channels[0],
            outputs: channels[1],
            side: self.side >> l,
            weight: training::weight(100 + l as u32, 9 * channels[0], channels[1]),
        };
        self.channels.windows(2).enumerate().map(conv).collect()
    }

    /// Takes images flattened as `[channels, side, side]`.
    pub fn dense(&self) -> Dense {
        let pools = self.channels.len() - 1;
        let side = self.side >> pools;
        let inputs = self.channels[pools] * side * side;
        Dense::new(100 + pools as u32, inputs, self.classes)
    }

    /// Inputs `[batch, channels, side, side]`; step `i` takes those at `i` modulo their number.
    pub fn inputs(&self) -> Vec<Vec<f32>> {
        training::inputs(self.batch * self.channels[0] * self.side * self.side)
    }

    /// Labels `[batch]`; step `i` takes those at `i` modulo their number.
    pub fn labels(&self) -> Vec<Vec<usize>> {
        training::labels(self.batch, self.classes)
    }

    /// Labels as rows `[batch, classes]` with a single 1.
    pub fn one_hot(&self) -> Vec<Vec<f32>> {
        training::one_hot(self.batch, self.classes)
    }

    /// The losses of the first steps.
    pub(crate) fn expected(&self) -> Vec<Expected> {
        let convolutions = self.convolutions();
        let layers = convolutions
            .iter()
            .map(|conv| (conv.weight.clone(), conv.outputs));
        let dense = self.dense();
        let layers = layers.chain([(dense.transposed(), dense.outputs)]);
        let layers = layers.map(|(weight, outputs)| Layer::new(weight, outputs, &ADAM));
        let train = |layers: &mut [Layer], x: &[f32], labels: &[usize], step| {
            train(&convolutions, layers, x, labels, step)
        };
        training::expected(layers.collect(), &self.inputs(), &self.labels(), train)
    }
}

/// One step: the loss before the update.
fn train(
    convolutions: &[Conv],
    layers: &mut [Layer],
    x: &[f32],
    labels: &[usize],
    step: usize,
) -> f64 {
    let mut x = training::wide(x);
    // Of each convolution its inputs and its results past the ReLU.
    let mut activations = Vec::new();
    for (conv, layer) in convolutions.iter().zip(&*layers) {
        let mut y = conv.forward(layer, &x);
        training::relu(&mut y);
        let pooled = windows(conv.side, y.len())
            .map(|window| {
                window
                    .map(|i| y[i])
                    .into_iter()
                    .fold(f64::NEG_INFINITY, f64::max)
            })
            .collect();
        activations.push((x, y));
        x = pooled;
    }
    let dense = &mut layers[convolutions.len()];
    let mut delta = training::dense(dense, &x);
    let loss = training::cross_entropy(&mut delta, labels);
    delta = training::dense_backward(dense, &x, &delta, step);
    for ((conv, layer), (x, y)) in convolutions.iter().zip(layers).zip(&activations).rev() {
        let mut d_y = vec![0.0; y.len()];
        for (window, d) in windows(conv.side, y.len()).zip(&delta) {
            // Where several are greatest they are 0, and the ReLU takes no gradient.
            let greatest = window.into_iter().max_by(|&i, &j| y[i].total_cmp(&y[j]));
            greatest.into_iter().for_each(|i| d_y[i] = *d);
        }
        training::relu_backward(&mut d_y, y);
        delta = conv.backward(layer, x, &d_y, step);
    }
    loss
}

/// Where the elements of each window of 2×2 are, in images of this side that have `count` elements
/// together.
fn windows(side: usize, count: usize) -> impl Iterator<Item = [usize; 4]> {
    let even = |i: usize| i.is_multiple_of(2);
    let corners = (0..count).filter(move |i| even(i / side) && even(i % side));
    corners.map(move |i| [i, i + 1, i + side, i + side + 1])
}

impl Conv {
    /// Whatever a convolution does, it does for an element of the weight with two rows of the
    /// same length: one that starts at a position of the results and one of the inputs.
    fn rows(&self, batch: usize, mut each: impl FnMut(usize, usize, usize, usize)) {
        let side = self.side;
        // Results that see an input through this row or column of the kernel.
        let seen = |k: usize| (1_usize.saturating_sub(k), side.min(side + 1 - k));
        for n in 0..batch {
            for o in 0..self.outputs {
                for c in 0..self.inputs {
                    for (k, l) in (0..9).map(|k| (k / 3, k % 3)) {
                        let weight = ((o * self.inputs + c) * 3 + k) * 3 + l;
                        let (left, right) = seen(l);
                        for i in seen(k).0..seen(k).1 {
                            let y = ((n * self.outputs + o) * side + i) * side + left;
                            let row = (n * self.inputs + c) * side + i + k - 1;
                            each(weight, y, row * side + left + l - 1, right - left);
                        }
                    }
                }
            }
        }
    }

    fn forward(&self, layer: &Layer, x: &[f64]) -> Vec<f64> {
        let image = self.side * self.side;
        let batch = x.len() / (self.inputs * image);
        let bias = |i: usize| layer.bias.value[i / image % self.outputs];
        let mut result: Vec<f64> = (0..batch * self.outputs * image).map(bias).collect();
        self.rows(batch, |w, y, from, length| {
            let w = layer.weight.value[w];
            add(&mut result[y..y + length], w, &x[from..from + length]);
        });
        result
    }

    /// Updates the layer and returns the gradient of its inputs.
    fn backward(&self, layer: &mut Layer, x: &[f64], d_y: &[f64], step: usize) -> Vec<f64> {
        let image = self.side * self.side;
        let batch = x.len() / (self.inputs * image);
        let mut d_weight = vec![0.0; layer.weight.value.len()];
        let mut d_bias = vec![0.0; self.outputs];
        let mut d_x = vec![0.0; x.len()];
        self.rows(batch, |w, y, from, length| {
            let d = &d_y[y..y + length];
            let pairs = d.iter().zip(&x[from..from + length]);
            d_weight[w] += pairs.map(|(d, x)| d * x).sum::<f64>();
            add(&mut d_x[from..from + length], layer.weight.value[w], d);
        });
        for (i, d) in d_y.iter().enumerate() {
            d_bias[i / image % self.outputs] += d;
        }
        layer.weight.update(&d_weight, step);
        layer.bias.update(&d_bias, step);
        d_x
    }
}

fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    sum.iter_mut()
        .zip(values)
        .for_each(|(sum, v)| *sum += factor * v);
}
