//! Kernels as text: pure functions from a kernel of a plan to WGSL and a grid.
//!
//! Nothing here knows wgpu. Shapes are baked into the text as constants, loops are unrolled with
//! named accumulators (naga does not unroll), and everything generated is plain, readable WGSL.

mod error;
mod expr;
mod index;
pub mod matmul;
mod memory;
mod module;
pub mod program;
mod reads;
mod scatter;
mod take;
mod value;
mod writer;

use gradus_graph::plan::{Kernel, KernelKind, Plan};

pub use error::ShaderError;
pub use writer::Writer;

use memory::Memory;

/// The most workgroups in one dimension of a dispatch that every device accepts.
pub const MAX_GROUPS: u32 = 65_535;

/// Loop iterations of an invocation, kept well below the 65,535 after which lavapipe 22.3 ends all
/// of its loops without an error.
const MAX_TRIPS: usize = 50_000;

/// A generated shader: what a pipeline and its dispatch are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shader {
    /// The text of the module.
    pub wgsl: String,
    /// The entry point in it.
    pub entry: &'static str,
    /// Workgroups to dispatch.
    pub grid: [u32; 3],
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Storage buffers, in the order of `@group(0) @binding(i)`.
    pub bindings: Vec<Binding>,
    /// Whether the shader reads the step row, `@group(1) @binding(0)`.
    pub step_row: bool,
    /// Whether the shader uses subgroup operations. Browsers want `enable subgroups;` in front of
    /// such a module, which naga refuses.
    pub subgroups: bool,
}

/// One storage buffer of a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The binding of the kernel.
    pub buffer: usize,
    /// Whether the shader writes it.
    pub access: Access,
}

/// How a shader uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// How to compute a kernel: a variant of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Of a fused region.
    Program(program::Variant),
    /// Of a matrix product.
    Matmul(matmul::Variant),
}

/// The shader of a kernel, in the variant that suits the plan's target.
pub fn shader(plan: &Plan, kernel: &Kernel) -> Result<Shader, ShaderError> {
    generate(plan, kernel, None)
}

/// The shader of a kernel in one of its [`variants`].
pub fn shader_as(plan: &Plan, kernel: &Kernel, variant: Variant) -> Result<Shader, ShaderError> {
    generate(plan, kernel, Some(variant))
}

/// Every way to compute a kernel, if there are several: all give the same values up to rounding.
pub fn variants(plan: &Plan, kernel: &Kernel) -> Vec<Variant> {
    match &kernel.kind {
        KernelKind::Program(p) => program::variants(&program::simplified(p))
            .into_iter()
            .map(Variant::Program)
            .collect(),
        KernelKind::MatMul(m) => {
            let all = matmul::variants(m, &plan.target).into_iter();
            all.map(Variant::Matmul).collect()
        }
        KernelKind::ScatterAdd(_) | KernelKind::Take(_) => Vec::new(),
    }
}

/// The name of the variant that [`shader`] takes, for people.
pub fn variant(plan: &Plan, kernel: &Kernel) -> String {
    match &kernel.kind {
        KernelKind::Program(p) => {
            program::choose(&program::simplified(p), plan.target.class).to_string()
        }
        KernelKind::MatMul(m) => matmul::choose(m, &plan.target).to_string(),
        KernelKind::ScatterAdd(_) => "scatter".into(),
        KernelKind::Take(_) => "take".into(),
    }
}

fn generate(plan: &Plan, kernel: &Kernel, variant: Option<Variant>) -> Result<Shader, ShaderError> {
    let memory = Memory::new(plan, kernel)?;
    match &kernel.kind {
        KernelKind::Program(p) => {
            let p = program::simplified(p);
            let variant = match variant {
                Some(Variant::Program(v)) => v,
                _ => program::choose(&p, plan.target.class),
            };
            program::shader(&p, memory, variant)
        }
        KernelKind::MatMul(m) => {
            let variant = match variant {
                Some(Variant::Matmul(v)) => v,
                _ => matmul::choose(m, &plan.target),
            };
            matmul::shader(m, memory, variant)
        }
        KernelKind::ScatterAdd(s) => scatter::shader(s, memory, &plan.target),
        KernelKind::Take(t) => take::shader(t, memory),
    }
}

/// Folds a number of workgroups into a grid whose dimensions every device accepts.
///
/// The grid may hold a few workgroups more than asked for; a shader must test its number.
pub fn fold(groups: u32) -> [u32; 3] {
    let rows = groups.div_ceil(MAX_GROUPS).max(1);
    [groups.div_ceil(rows).max(1), rows, 1]
}

/// A size as the 32 bits that positions on a device have.
fn small(size: usize) -> Result<u32, ShaderError> {
    u32::try_from(size).map_err(|_| ShaderError::TooLarge(size))
}
