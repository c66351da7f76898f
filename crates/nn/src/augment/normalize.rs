//! Images whose channels have mean 0 and deviation 1.

use gradus_graph::{Array, DType, Data, Layer, Scope, Var};

/// Subtracts a number from each channel of `[N, C, …]` and divides by another: what is known of
/// the data set. In training and evaluation alike, unlike its neighbours here.
///
/// ```text
/// y = (x − mean) / std
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalize {
    /// Mean and standard deviation of each channel.
    pub fn new(mean: impl Into<Vec<f32>>, std: impl Into<Vec<f32>>) -> Self {
        Self {
            mean: mean.into(),
            std: std.into(),
        }
    }

    fn check(&self, x: Var<'_>) -> Result<(), String> {
        let (shape, dtype) = (x.shape(), x.dtype());
        if shape.rank() < 2 || dtype != DType::F32 {
            return Err(format!("expected f32 [N, C, …], found {dtype} {shape}"));
        }
        let (means, stds) = (self.mean.len(), self.std.len());
        if [means, stds] != [shape[1]; 2] {
            return Err(format!(
                "expected {} means and deviations, one a channel of {shape}, found {means} and \
                 {stds}",
                shape[1]
            ));
        }
        match self.std.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
            Some(bad) => Err(format!("a deviation must be above 0, found {bad}")),
            None => Ok(()),
        }
    }
}

impl Layer for Normalize {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        if let Err(message) = self.check(x) {
            return scope.graph().fail("normalize", message);
        }
        let mut column = vec![1; x.rank()];
        column[1] = x.dim(1);
        let literal = |values: &[f32]| {
            let array = Array::vector(Data::F32(values.to_vec()));
            x.graph().literal(array).reshape(&column[..])
        };
        (x - literal(&self.mean)) / literal(&self.std)
    }
}
