//! From the kernels of a plan to pipelines, and to dispatches over given memory.

use gradus_graph::plan::{Binding, Kernel, Plan, Role};

use crate::kernels::{self, Variant};
use crate::{BufferRange, Device, Dispatch, Pipeline, Source, TensorError, compile, compile_all};

/// Picks the variant of a kernel.
pub(crate) type Pick<'a> = &'a dyn Fn(&Plan, &Kernel) -> Result<Variant, TensorError>;

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
    let kernels = plan.kernels.iter().enumerate();
    let drafts = kernels.map(|(line, kernel)| {
        let variant = pick(plan, kernel);
        let draft = variant.and_then(|variant| Draft::new(plan, kernel, variant, checked));
        draft.map_err(|error| (line, error))
    });
    let drafts = drafts.collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<_> = drafts.iter().map(|draft| draft.source.clone()).collect();
    // An error is told below, where its line is known; what succeeded is found there again.
    let _ = compile_all(device, &sources, progress);
    let drafts = drafts.into_iter().enumerate();
    drafts
        .map(|(line, draft)| draft.compile(device).map_err(|error| (line, error)))
        .collect()
}

/// A kernel as text.
struct Draft {
    source: Source,
    variant: Variant,
    grid: [u32; 3],
}

impl Draft {
    fn new(
        plan: &Plan,
        kernel: &Kernel,
        variant: Variant,
        checked: bool,
    ) -> Result<Self, TensorError> {
        let shader = kernels::shader(plan, kernel, variant);
        let shader = shader.map_err(|error| TensorError::Validation {
            label: kernel.label.clone(),
            message: error.to_string(),
        })?;
        let source = match checked {
            true => Source::checked(&kernel.label, &shader),
            false => Source::trusted(&kernel.label, &shader),
        };
        Ok(Self {
            source,
            variant,
            grid: shader.grid,
        })
    }

    fn compile(self, device: &Device) -> Result<Launch, TensorError> {
        Ok(Launch {
            pipeline: compile(device, &self.source)?,
            variant: self.variant,
            grid: self.grid,
        })
    }
}

impl Launch {
    /// Compiles one kernel.
    pub(crate) fn new(
        device: &Device,
        plan: &Plan,
        kernel: &Kernel,
        variant: Variant,
    ) -> Result<Self, TensorError> {
        Draft::new(plan, kernel, variant, false)?.compile(device)
    }

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
