//! From the kernels of a plan to pipelines, and to dispatches over given memory.

use gradus_graph::plan::{Binding, Kernel, Plan, Role};

use crate::kernels::{self, Variant};
use crate::{BufferRange, Device, Dispatch, Pipeline, Source, TensorError, compile, compile_all};

/// Picks the variant of a kernel.
pub(crate) type Pick<'a> = &'a dyn Fn(&Plan, &Kernel) -> Variant;

/// A kernel that is compiled but not yet bound to memory.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pipeline: Pipeline,
    variant: Variant,
    grid: [u32; 3],
}

/// Compiles all kernels of a plan, on all cores; as [`compile_all`].
///
/// # Errors
///
/// The first kernel that cannot be compiled, by its line in the plan.
pub(crate) fn launches(
    device: &Device,
    plan: &Plan,
    checked: bool,
    pick: Pick<'_>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Launch>, (usize, TensorError)> {
    let mut sources = Vec::with_capacity(plan.kernels.len());
    let mut forms = Vec::with_capacity(plan.kernels.len());
    for (line, kernel) in plan.kernels.iter().enumerate() {
        let variant = pick(plan, kernel);
        let shader = kernels::shader(plan, kernel, variant).map_err(|error| {
            let (label, message) = (kernel.label.clone(), error.to_string());
            (line, TensorError::Validation { label, message })
        })?;
        forms.push((variant, shader.grid));
        sources.push(match checked {
            true => Source::checked(&kernel.label, &shader),
            false => Source::trusted(&kernel.label, &shader),
        });
    }
    // An error is told below, where its line is known; what succeeded is found there again.
    let _ = compile_all(device, &sources, progress);
    let launches = sources.iter().zip(forms).enumerate();
    launches
        .map(|(line, (source, (variant, grid)))| {
            let pipeline = compile(device, source).map_err(|error| (line, error))?;
            Ok(Launch {
                pipeline,
                variant,
                grid,
            })
        })
        .collect()
}

impl Launch {
    /// Binds the memory that `place` gives for each binding of the kernel.
    pub(crate) fn dispatch(
        &self,
        device: &Device,
        plan: &Plan,
        kernel: &Kernel,
        place: impl Fn(&Role, &Binding) -> Result<BufferRange, TensorError>,
    ) -> Result<Dispatch, TensorError> {
        let range = |binding: &Binding| {
            let buffer = plan.buffers.get(binding.buffer.index());
            let buffer = buffer.ok_or_else(|| no_memory(&kernel.label, "a buffer"))?;
            place(&buffer.role, binding)
        };
        let ranges: Result<Vec<_>, _> = kernel.bindings.iter().map(range).collect();
        Dispatch::new(device, &kernel.label, &self.pipeline, &ranges?, self.grid)
    }

    /// How the kernel is computed, for people: variant and grid.
    pub(crate) fn how(&self) -> String {
        let [x, y, z] = self.grid;
        format!("{}, {x}×{y}×{z}", self.variant)
    }

    /// Whether it reads the step row.
    pub(crate) fn step_row(&self) -> bool {
        self.pipeline.step_row()
    }
}

/// A binding that nothing can be bound to: a fault of the plan.
pub(crate) fn no_memory(label: &str, what: impl std::fmt::Display) -> TensorError {
    TensorError::Validation {
        label: label.to_owned(),
        message: format!("it binds {what}, which the plan does not have"),
    }
}
