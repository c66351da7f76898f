//! Variants that were measured on a device instead of taken from the table.

mod measure;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use gradus_graph::philox;
use gradus_graph::plan::{Kernel, Plan};

use crate::health::lock;
use crate::kernels::{self, ShaderError, Variant};
use crate::{Device, TensorError};

/// Names of variants by what identifies kernels: what a program keeps between runs, for each
/// adapter and driver. The same choices give the same bits.
pub type Choices = BTreeMap<String, String>;

/// What is called with all choices when one was added.
type Save = Box<dyn Fn(&Choices) + Send + Sync>;

/// Choices of one device, which grow as kernels are met that they do not know.
pub struct Tuning {
    choices: Mutex<Choices>,
    save: Save,
}

impl Tuning {
    /// Goes on from these choices. `save` is called with all of them after each that is added.
    pub fn new(choices: Choices, save: impl Fn(&Choices) + Send + Sync + 'static) -> Self {
        Self {
            choices: Mutex::new(choices),
            save: Box::new(save),
        }
    }

    /// The variant for this kernel: the one chosen before, or the fastest now.
    pub(crate) fn pick(
        &self,
        device: &Device,
        plan: &Plan,
        kernel: &Kernel,
    ) -> Result<Variant, TensorError> {
        let table = kernels::choose(plan, kernel);
        let mut candidates = vec![table];
        let others = kernels::variants(plan, kernel).into_iter();
        candidates.extend(others.filter(|v| *v != table && kernels::suits(plan, kernel, *v)));
        if candidates.len() == 1 {
            return Ok(table);
        }
        let key = key(plan, kernel, table);
        let key = key.map_err(|error| TensorError::Validation {
            label: kernel.label.clone(),
            message: error.to_string(),
        })?;
        let known = lock(&self.choices).get(&key).cloned();
        // A name that no candidate has any more is as good as none.
        let known = known.and_then(|name| candidates.iter().find(|v| self::name(**v) == name));
        if let Some(known) = known {
            return Ok(*known);
        }
        let fastest = measure::fastest(device, plan, kernel, &candidates)?;
        let mut choices = lock(&self.choices);
        choices.insert(key, name(fastest));
        (self.save)(&choices);
        Ok(fastest)
    }
}

impl fmt::Debug for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choices = lock(&self.choices).len();
        f.debug_struct("Tuning")
            .field("choices", &choices)
            .finish_non_exhaustive()
    }
}

/// The shader of the table's choice says all about a kernel: shapes, layouts, arithmetic. When the
/// generator changes so does the key, and what was measured of the old code is not used.
fn key(plan: &Plan, kernel: &Kernel, table: Variant) -> Result<String, ShaderError> {
    let shader = kernels::shader(plan, kernel, table)?;
    Ok(format!("{:016x}", philox::stream(&shader.wgsl, 0)))
}

fn name(variant: Variant) -> String {
    format!("{variant:?}")
}
