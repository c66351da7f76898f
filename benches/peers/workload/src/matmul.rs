//! `c = a · b`, square, row-major, neither factor transposed.

use serde::{Deserialize, Serialize};

use crate::Expected;
use crate::data::{integers, symmetric};

/// Elements of the product that are checked.
const CHECKED: usize = 1000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matmul {
    pub size: usize,
}

impl Matmul {
    /// Both with elements in [−1, 1).
    pub fn factors(&self) -> [Vec<f32>; 2] {
        [1, 2].map(|stream| symmetric(stream, self.size * self.size, 1.0))
    }

    /// The elements that are checked.
    pub fn sample(&self, c: &[f32]) -> Vec<f32> {
        self.positions().into_iter().map(|i| c[i]).collect()
    }

    fn positions(&self) -> Vec<usize> {
        integers(3, CHECKED, self.size * self.size)
    }

    pub(crate) fn expected(&self) -> Vec<Expected> {
        let n = self.size;
        let [a, b] = self.factors();
        let element = |position: usize| {
            let (i, j) = (position / n, position % n);
            let terms = (0..n).map(|k| f64::from(a[i * n + k]) * f64::from(b[k * n + j]));
            let (value, size) =
                terms.fold((0.0, 0.0), |(value, size), t| (value + t, size + t.abs()));
            let tolerance = 4.0 * f64::from(f32::EPSILON) * size;
            Expected { value, tolerance }
        };
        self.positions().into_iter().map(element).collect()
    }
}
