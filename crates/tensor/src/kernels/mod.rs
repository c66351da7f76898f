//! Kernels as text: pure functions from a description to WGSL, a grid and a list of bindings.
//!
//! Nothing here knows wgpu. Shapes are baked into the text as constants, loops are unrolled with
//! named accumulators (naga does not unroll), and everything generated is plain, readable WGSL.

pub mod matmul;
mod writer;

pub use writer::Writer;

/// The most workgroups in one dimension of a dispatch that every device accepts.
pub const MAX_GROUPS: u32 = 65_535;

/// A generated shader: what a pipeline and its dispatch are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shader {
    /// The text of the module.
    pub wgsl: String,
    /// The entry point in it.
    pub entry: &'static str,
    /// Workgroups to dispatch.
    pub grid: [u32; 3],
    /// Storage buffers, in the order of `@group(0) @binding(i)`.
    pub bindings: Vec<Binding>,
    /// Whether the shader reads the step row, `@group(1) @binding(0)`.
    pub step_row: bool,
}

/// One storage buffer of a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The caller's number for the buffer.
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

impl Access {
    /// The address space as WGSL spells it.
    pub fn wgsl(self) -> &'static str {
        match self {
            Self::Read => "storage, read",
            Self::ReadWrite => "storage, read_write",
        }
    }
}

/// The two kinds of device that need kernels of a different make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceClass {
    /// A CPU that plays Vulkan device (lavapipe, SwiftShader): vectorises along `local_id.x`,
    /// and pays dearly for barriers.
    Software,
    /// A real GPU.
    Gpu,
}

/// Folds a number of workgroups into a grid whose dimensions every device accepts.
///
/// The grid may hold a few workgroups more than asked for; a shader must test its number.
pub fn fold(groups: u32) -> [u32; 3] {
    let rows = groups.div_ceil(MAX_GROUPS).max(1);
    [groups.div_ceil(rows).max(1), rows, 1]
}
