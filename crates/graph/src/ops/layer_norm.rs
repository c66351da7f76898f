//! Normalization of each sample over its last axes.

use super::{Composite, Meta};
use crate::{DType, Shape, Var};

/// Layer normalization, or RMS normalization, over the last axes: `[…, N…] -> […, N…]`, with `w`
/// `[N…]`, `w` and `b`, or neither.
///
/// ```text
/// y = (x − µ) / √(σ² + eps) · w + b      σ² = mean (x − µ)²
/// ```
///
/// RMS normalization has µ = 0: it does not center. The variance is a mean of squares of what is
/// centered before, so that an offset costs no more digits than it takes of the input.
///
/// Sources: Ba, Kiros & Hinton (2016), arXiv:1607.06450; Zhang & Sennrich (2019), arXiv:1910.07467.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// How many axes are normalized together, the last ones.
    pub axes: usize,
    /// Keeps the root away from 0.
    pub eps: f64,
    /// Subtract the mean: no RMS normalization.
    pub centered: bool,
}

impl LayerNorm {
    /// `[rows, elements]`, where each row is normalized.
    fn rows<'g>(&self, x: Var<'g>) -> Var<'g> {
        let shape = x.shape();
        let (rows, row) = shape.split_at(shape.rank() - self.axes);
        x.reshape([rows.iter().product::<usize>(), row.iter().product()])
    }

    /// `x̂` and `1/√(σ² + eps)` of rows.
    fn normalized<'g>(&self, rows: Var<'g>) -> [Var<'g>; 2] {
        let centered = match self.centered {
            true => rows - mean(rows),
            false => rows,
        };
        let scale = (mean(centered.square()) + self.eps).rsqrt();
        [centered * scale, scale]
    }
}

impl Composite for LayerNorm {
    fn name(&self) -> &'static str {
        match self.centered {
            true => "layer_norm",
            false => "rms_norm",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let Some(x) = inputs.first().filter(|_| inputs.len() <= 3) else {
            return Err("expected an input, and a weight, or a weight and a bias".into());
        };
        let rank = x.shape.rank();
        if x.dtype != DType::F32 || self.axes == 0 || rank < self.axes {
            return Err(format!(
                "expected f32 with at least {} axes, found {} {}",
                self.axes.max(1),
                x.dtype,
                x.shape
            ));
        }
        let row = Shape::of(&x.shape[rank - self.axes..]);
        for v in &inputs[1..] {
            if *v != Meta::new(row, DType::F32) {
                return Err(format!(
                    "input {} needs f32 weights and biases {row}, found {} {}",
                    x.shape, v.dtype, v.shape
                ));
            }
        }
        Ok(*x)
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        let [hat, _] = self.normalized(self.rows(x[0]));
        let y = match x {
            [_, w] => hat * w.flatten(0),
            [_, w, b] => hat * w.flatten(0) + b.flatten(0),
            _ => hat,
        };
        y.reshape(x[0].shape())
    }

    /// `db = Σ dy`, `dw = Σ dy ⊙ x̂`, and with `g = w dy`
    /// `dx = (g − mean g − x̂ · mean(g ⊙ x̂)) / √(σ² + eps)`, without `mean g` where nothing is
    /// centered.
    fn vjp<'g>(&self, x: &[Var<'g>], _: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        let [hat, scale] = self.normalized(self.rows(x[0]));
        let dy = self.rows(dy);
        let g = match x.get(1) {
            Some(w) => dy * w.flatten(0),
            None => dy,
        };
        let g_hat = hat * mean(g * hat);
        let dx = match self.centered {
            true => g - mean(g) - g_hat,
            false => g - g_hat,
        };
        let mut gradients = vec![Some((dx * scale).reshape(x[0].shape()))];
        for (v, terms) in x[1..].iter().zip([dy * hat, dy]) {
            gradients.push(Some(terms.sum(&[0]).reshape(v.shape())));
        }
        gradients
    }
}

/// The mean of each row, `[rows, 1]`. A division, so that the mean of equal elements is what they
/// are.
fn mean(rows: Var<'_>) -> Var<'_> {
    rows.sum_keep(&[1]) / rows.dim(1) as f64
}
