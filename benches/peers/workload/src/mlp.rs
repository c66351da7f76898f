//! Training steps of a multilayer perceptron with ReLUs: mean cross-entropy, Adam.

use serde::{Deserialize, Serialize};

use crate::Expected;
use crate::training::{self, ADAM, Dense, Layer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mlp {
    /// From inputs to classes.
    pub widths: Vec<usize>,
    pub batch: usize,
}

impl Mlp {
    pub(crate) fn name(&self) -> String {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        format!("mlp {} batch {}", widths.join("-"), self.batch)
    }

    pub fn layers(&self) -> Vec<Dense> {
        let layer = |(stream, widths): (u32, &[usize])| Dense::new(stream, widths[0], widths[1]);
        (100..).zip(self.widths.windows(2)).map(layer).collect()
    }

    pub fn classes(&self) -> usize {
        self.widths.last().copied().unwrap_or_default()
    }

    /// Inputs `[batch, width]`; step `i` takes those at `i` modulo their number.
    pub fn inputs(&self) -> Vec<Vec<f32>> {
        training::inputs(self.batch * self.widths[0])
    }

    /// Labels `[batch]`; step `i` takes those at `i` modulo their number.
    pub fn labels(&self) -> Vec<Vec<usize>> {
        training::labels(self.batch, self.classes())
    }

    /// Labels as rows `[batch, classes]` with a single 1.
    pub fn one_hot(&self) -> Vec<Vec<f32>> {
        training::one_hot(self.batch, self.classes())
    }

    /// The losses of the first steps.
    pub(crate) fn expected(&self) -> Vec<Expected> {
        let layer = |dense: &Dense| Layer::new(dense.transposed(), dense.outputs, &ADAM);
        let layers = self.layers().iter().map(layer).collect();
        training::expected(layers, &self.inputs(), &self.labels(), train)
    }
}

/// One step: the loss before the update.
fn train(layers: &mut [Layer], x: &[f32], labels: &[usize], step: usize) -> f64 {
    let last = layers.len() - 1;
    let mut activations = vec![training::wide(x)];
    for (l, layer) in layers.iter().enumerate() {
        let mut y = training::dense(layer, &activations[l]);
        if l < last {
            training::relu(&mut y);
        }
        activations.push(y);
    }
    let mut delta = activations.pop().unwrap_or_default();
    let loss = training::cross_entropy(&mut delta, labels);
    for (layer, x) in layers.iter_mut().zip(&activations).rev() {
        delta = training::dense_backward(layer, x, &delta, step);
        // The gradient of the inputs of the first layer is not used.
        training::relu_backward(&mut delta, x);
    }
    loss
}
