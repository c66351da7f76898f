//! Which variant of a kernel a runtime compiles.

use std::sync::Arc;

use gradus_graph::plan::{Kernel, Plan};

use crate::kernels::{self, Variant};
use crate::tuning::Tuning;
use crate::{Device, TensorError};

/// What decides.
#[derive(Clone, Debug, Default)]
pub(super) enum Choice {
    /// The table, by shape and class of device: the same everywhere.
    #[default]
    Table,
    /// A test: this one of all variants, counted round.
    Forced(usize),
    /// Measurement.
    Tuned(Arc<Tuning>),
}

impl Choice {
    pub(super) fn pick(
        &self,
        device: &Device,
        plan: &Plan,
        kernel: &Kernel,
    ) -> Result<Variant, TensorError> {
        match self {
            Self::Table => Ok(kernels::choose(plan, kernel)),
            Self::Forced(number) => {
                let all = kernels::variants(plan, kernel);
                let forced = number.checked_rem(all.len()).and_then(|i| all.get(i));
                Ok(forced
                    .copied()
                    .unwrap_or_else(|| kernels::choose(plan, kernel)))
            }
            Self::Tuned(tuning) => tuning.pick(device, plan, kernel),
        }
    }
}
