//! Kernels as text: pure functions from a kernel of a plan to WGSL and a grid.
//!
//! Nothing here knows wgpu. Shapes are baked into the text as constants, loops are unrolled with
//! named accumulators (naga does not unroll), and everything generated is plain, readable WGSL.

pub mod attention;
mod error;
mod expr;
mod index;
pub mod matmul;
mod memory;
mod module;
pub mod program;
mod reads;
mod scan;
mod scatter;
mod sort;
mod take;
mod update;
mod value;
mod writer;

use std::fmt;

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
    /// Of a matrix product, or a convolution.
    Matmul(matmul::Variant),
    /// Of attention.
    Attention(attention::Variant),
    /// The only one of a scatter.
    Scatter,
    /// The only one of a scan.
    Scan,
    /// The only one of a sort.
    Sort,
    /// The only one of rows that are written over.
    Update,
    /// The only one of a batch's gather.
    Take,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(variant) => variant.fmt(f),
            Self::Matmul(variant) => variant.fmt(f),
            Self::Attention(variant) => variant.fmt(f),
            Self::Scatter => f.write_str("scatter"),
            Self::Scan => f.write_str("scan"),
            Self::Sort => f.write_str("sort"),
            Self::Update => f.write_str("update"),
            Self::Take => f.write_str("take"),
        }
    }
}

/// The variant that suits the plan's target.
pub fn choose(plan: &Plan, kernel: &Kernel) -> Variant {
    match &kernel.kind {
        KernelKind::Program(p) => {
            let p = program::simplified(p);
            Variant::Program(program::choose(&p, plan.target.class))
        }
        KernelKind::MatMul(m) => Variant::Matmul(matmul::choose(m.into(), &plan.target)),
        KernelKind::Conv(c) => Variant::Matmul(matmul::choose(c.into(), &plan.target)),
        KernelKind::Attention(_) => Variant::Attention(attention::choose(plan.target.class)),
        KernelKind::Scatter(_) => Variant::Scatter,
        KernelKind::Scan(_) => Variant::Scan,
        KernelKind::Sort(_) => Variant::Sort,
        KernelKind::Update(_) => Variant::Update,
        KernelKind::Take(_) => Variant::Take,
    }
}

/// Every way to compute a kernel: all give the same values up to rounding.
pub fn variants(plan: &Plan, kernel: &Kernel) -> Vec<Variant> {
    match &kernel.kind {
        KernelKind::Program(p) => {
            let all = program::variants(&program::simplified(p)).into_iter();
            all.map(Variant::Program).collect()
        }
        KernelKind::MatMul(m) => {
            let all = matmul::variants(m.into(), &plan.target).into_iter();
            all.map(Variant::Matmul).collect()
        }
        KernelKind::Conv(c) => {
            let all = matmul::variants(c.into(), &plan.target).into_iter();
            all.map(Variant::Matmul).collect()
        }
        KernelKind::Attention(_) => attention::VARIANTS.map(Variant::Attention).to_vec(),
        KernelKind::Scatter(_)
        | KernelKind::Scan(_)
        | KernelKind::Sort(_)
        | KernelKind::Update(_)
        | KernelKind::Take(_) => vec![choose(plan, kernel)],
    }
}

/// Whether devices of the plan's class can gain by this variant of a kernel: others are there to
/// be tested, or for other devices.
pub fn suits(plan: &Plan, kernel: &Kernel, variant: Variant) -> bool {
    let class = plan.target.class;
    match (&kernel.kind, variant) {
        (KernelKind::Program(p), Variant::Program(v)) => {
            program::suits(&program::simplified(p), v, class)
        }
        (_, Variant::Matmul(v)) => matmul::suits(v, class),
        (_, Variant::Attention(v)) => v == attention::choose(class),
        _ => true,
    }
}

/// The shader of a kernel in one of its [`variants`].
///
/// # Errors
///
/// If it is no variant of this kernel, or no shader of this size can be written.
pub fn shader(plan: &Plan, kernel: &Kernel, variant: Variant) -> Result<Shader, ShaderError> {
    let memory = Memory::new(plan, kernel)?;
    match (&kernel.kind, variant) {
        (KernelKind::Program(p), Variant::Program(v)) => {
            program::shader(&program::simplified(p), memory, v)
        }
        (KernelKind::MatMul(m), Variant::Matmul(v)) => matmul::shader(m, memory, v),
        (KernelKind::Conv(c), Variant::Matmul(v)) => matmul::conv_shader(c, memory, v),
        (KernelKind::Attention(a), Variant::Attention(v)) => attention::shader(a, memory, v),
        (KernelKind::Scatter(s), Variant::Scatter) => scatter::shader(s, memory, &plan.target),
        (KernelKind::Scan(s), Variant::Scan) => scan::shader(s, memory),
        (KernelKind::Sort(s), Variant::Sort) => sort::shader(s, memory),
        (KernelKind::Update(u), Variant::Update) => update::shader(u, memory),
        (KernelKind::Take(t), Variant::Take) => take::shader(t, memory),
        _ => Err(ShaderError::Variant(variant)),
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
