//! The order of elements.

use super::Meta;
use crate::{DType, Shape};

/// Positions along the last axis in the order of their elements: `[…, N] -> […, N]`, `i32`.
///
/// Every run of `run` positions is sorted by itself; `run ≥ N` sorts whole rows. Equal elements keep
/// their order, in both directions. NaN is larger than all numbers, `−0` equals `0`.
///
/// A second input may name an order, as this op gives it for runs half as long, to start from; it
/// does not change the result.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgSort {
    /// The largest first.
    pub descending: bool,
    /// Positions that are sorted together.
    pub run: usize,
}

impl ArgSort {
    pub(crate) fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let x = ordered(inputs)?;
        if x.dtype == DType::Bool {
            return Err("expected numbers, found bool; cast it".into());
        }
        if x.shape.rank() == 0 || self.run == 0 {
            return Err(format!("runs of {} of {}", self.run, x.shape));
        }
        if i32::try_from(x.shape.last_dim()).is_err() {
            return Err(format!("{} has more positions than i32 can count", x.shape));
        }
        Ok(Meta::new(x.shape, DType::I32))
    }

    /// Rows and their length.
    pub(crate) fn rows(shape: &Shape) -> [usize; 2] {
        let length = shape.last_dim();
        [shape.numel() / length.max(1), length]
    }
}

/// What is sorted or searched, with an order of it or without.
pub(super) fn ordered(inputs: &[Meta]) -> Result<&Meta, String> {
    match inputs {
        [x] => Ok(x),
        [x, order] if order.shape == x.shape && order.dtype == DType::I32 => Ok(x),
        [x, order] => Err(format!(
            "an order {} {} for {}",
            order.dtype, order.shape, x.shape
        )),
        _ => Err(format!("expected 1 or 2 inputs, found {}", inputs.len())),
    }
}
