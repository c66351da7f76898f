//! Matrix multiplication: `C[b,m,n] = Σₖ A[b,m,k] · B[b,k,n]`, followed by an epilogue.
//!
//! Every family of kernels takes the same description and calls the same epilogue functions, so
//! any of them can stand in for any other. `choose` picks by shape and device class; `variants`
//! lists all that are legal for a shape, so that tests can force each.

mod choose;
mod epilogue;
mod form;
mod gather;
mod phases;
mod register;
mod side;
mod sliced;
mod software;
mod strip;
mod tile;
mod tiled;

use std::fmt;

use gradus_graph::Program;
use gradus_graph::plan::{ConvKernel, Factor, MatMulKernel, Matrix};

use super::memory::Memory;
use super::module::Entry;
use super::{Shader, ShaderError, Writer, small};
use phases::Phases;
use strip::Strip;

pub(super) use choose::suits;
pub use choose::{choose, variants};
pub use form::Form;
pub use register::Register;
pub use sliced::Sliced;
pub use tiled::Tiled;

/// How to compute a multiplication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Each invocation owns a tile in registers and reads both operands from memory. No workgroup
    /// memory, no barriers.
    Register(Register),
    /// A workgroup owns a block and shares slices of the operands in workgroup memory.
    Tiled(Tiled),
    /// Several invocations share a tile and its sum.
    Sliced(Sliced),
}

impl Variant {
    /// Rows and columns of what an invocation, or a workgroup that shares memory, computes.
    const fn tile(self) -> [u32; 2] {
        match self {
            Self::Register(v) => [v.rows, v.cols],
            Self::Tiled(v) => [v.rows, v.cols],
            Self::Sliced(v) => [v.rows, v.cols],
        }
    }

    /// Terms that are visited together.
    fn unit(self, k: u32) -> u32 {
        match self {
            Self::Register(_) => register::unit(k),
            Self::Tiled(v) => v.depth,
            Self::Sliced(_) => sliced::TERMS,
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(v) if v.shared => write!(f, "register {}×{} shared", v.rows, v.cols),
            Self::Register(v) => write!(f, "register {}×{}", v.rows, v.cols),
            Self::Tiled(v) => write!(f, "tiled {}×{}×{}", v.rows, v.cols, v.depth),
            Self::Sliced(v) => write!(f, "sliced {}×{}/{}", v.rows, v.cols, v.slices),
        }
    }
}

/// One multiplication, with all sizes in 32 bits.
#[derive(Clone, Debug)]
struct Product<'a> {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    /// A: its lanes are rows.
    a: Strip,
    /// B: its lanes are columns.
    b: Strip,
    /// Where the elements of a convolution's A and B come from.
    factors: [Option<&'a Factor>; 2],
    /// The operand that receives the sums of A over K.
    row_sum: Option<usize>,
    epilogue: &'a Program,
    /// Whether four neighbours of a row are stored at once.
    wide: bool,
    /// Columns of an image of a convolution, where they are not those of the whole product.
    positions: Option<u32>,
    /// The phases of a strided convolution toward its input: each is a matrix of the batch, with
    /// sums of its own length, at most K.
    phases: Option<Phases>,
}

/// The shader of a multiplication in this variant.
pub(super) fn shader(
    kernel: &MatMulKernel,
    mut memory: Memory,
    variant: Variant,
) -> Result<Shader, ShaderError> {
    let product = Product::matmul(kernel, &mut memory, variant.tile())?;
    finish(&product, &memory, variant)
}

/// The shader of a convolution in this variant.
pub(super) fn conv_shader(
    kernel: &ConvKernel,
    mut memory: Memory,
    variant: Variant,
) -> Result<Shader, ShaderError> {
    let product = Product::conv(kernel, &mut memory, variant)?;
    finish(&product, &memory, variant)
}

fn finish(product: &Product<'_>, memory: &Memory, variant: Variant) -> Result<Shader, ShaderError> {
    let mut functions = Writer::new();
    for (strip, factor) in [&product.a, &product.b].into_iter().zip(product.factors) {
        strip.declare(&mut functions, factor, memory)?;
    }
    epilogue::declare(&mut functions, product, memory)?;
    let kernel = match variant {
        Variant::Register(v) => register::kernel(product, v),
        Variant::Tiled(v) => tiled::kernel(product, v),
        Variant::Sliced(v) => sliced::kernel(product, v),
    };
    Entry {
        name: "matmul",
        functions: kernel.functions + &functions.finish(),
        ..kernel
    }
    .shader(memory, Some(product.epilogue))
}

impl<'a> Product<'a> {
    /// The product as tiles of `rows` × `cols` that stand at multiples of their size see it.
    fn matmul(
        kernel: &'a MatMulKernel,
        memory: &mut Memory,
        [rows, cols]: [u32; 2],
    ) -> Result<Self, ShaderError> {
        let [m, n, k] = [small(kernel.m)?, small(kernel.n)?, small(kernel.k)?];
        let wide = n.is_multiple_of(4) && cols.is_multiple_of(4);
        super::program::note(&kernel.epilogue, memory, wide.then_some(2));
        if let Some(operand) = kernel.row_sum {
            memory.note_singles(operand);
        }
        let (a, b) = (&kernel.a, &kernel.b);
        let mut strips = [
            Strip::new("a", a, memory, !a.transposed, [m, k, rows])?,
            Strip::new("b", b, memory, b.transposed, [n, k, cols])?,
        ];
        for strip in &strips {
            strip.note(memory);
        }
        for strip in &mut strips {
            // Another access may have kept the binding narrow.
            strip.wide &= memory.reads_quads(strip.operand);
        }
        let [a, b] = strips;
        Ok(Self {
            batch: small(kernel.batch)?,
            m,
            n,
            k,
            a,
            b,
            factors: [None; 2],
            row_sum: kernel.row_sum,
            epilogue: &kernel.epilogue,
            wide,
            positions: None,
            phases: None,
        })
    }

    /// The same of a convolution.
    fn conv(
        kernel: &'a ConvKernel,
        memory: &mut Memory,
        variant: Variant,
    ) -> Result<Self, ShaderError> {
        let [rows, cols] = variant.tile();
        let form = Form::from(kernel);
        let [m, n, k] = [small(form.m)?, small(form.n)?, small(form.k)?];
        let phases = Phases::of(&kernel.conv);
        let positions = match &phases {
            Some(phases) => phases.len(),
            None => kernel.conv.result(kernel.images)[2],
        };
        let positions = small(positions)?;
        // Elements of a phase are not neighbours.
        let wide = phases.is_none() && positions.is_multiple_of(4) && cols.is_multiple_of(4);
        super::program::note(&kernel.epilogue, memory, wide.then_some(2));
        if let Some(operand) = kernel.row_sum {
            memory.note_singles(operand);
        }
        // The first factor of a convolution is the right one of its product.
        let (a, b) = gather::operands(kernel, phases.as_ref(), variant.unit(k))?;
        let b = Strip::gathered("b", &kernel.a, b, memory, form.along_k);
        let mut a = match (a, &kernel.b) {
            (Some(a), factor) => Strip::gathered("a", factor, a, memory, phases.is_none()),
            (None, Factor::Computed(..)) => return Err(ShaderError::Weight),
            (None, &Factor::Dense(operand)) => {
                let whole = Matrix {
                    operand,
                    transposed: false,
                    offset: 0,
                    row_stride: form.k,
                    batch_stride: form.m * form.k,
                };
                Strip::new("a", &whole, memory, true, [m, k, rows])?
            }
        };
        if a.gather.is_none() {
            a.note(memory);
            a.wide &= memory.reads_quads(a.operand);
        }
        Ok(Self {
            batch: small(form.batch)?,
            m,
            n,
            k,
            a,
            b,
            factors: [Some(&kernel.b), Some(&kernel.a)],
            row_sum: kernel.row_sum,
            epilogue: &kernel.epilogue,
            wide,
            positions: Some(positions),
            phases,
        })
    }

    /// Declares what a workgroup needs to know of its matrix, whose number is `batch`.
    fn declare(&self, out: &mut Writer) {
        if let Some(phases) = &self.phases {
            phases.declare(out);
        }
    }

    /// The number of terms.
    fn terms(&self) -> String {
        match &self.phases {
            Some(_) => "terms".to_owned(),
            None => format!("{}u", self.k),
        }
    }
}

/// Cuts `n` into pieces of four and a shorter rest: (start, width).
fn chunks(n: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..n)
        .step_by(4)
        .map(move |start| (start, 4.min(n - start)))
}

/// The f32 vector type of a width from 1 to 4.
fn vector(width: u32) -> &'static str {
    match width {
        1 => "f32",
        2 => "vec2<f32>",
        3 => "vec3<f32>",
        _ => "vec4<f32>",
    }
}

/// The part of an expression of this width that names component `i`.
fn component(width: u32, i: u32) -> &'static str {
    match (width, i) {
        (1, _) => "",
        (_, 0) => ".x",
        (_, 1) => ".y",
        (_, 2) => ".z",
        _ => ".w",
    }
}

/// A vector from its components.
fn compose(parts: &[String]) -> String {
    match parts {
        [one] => one.clone(),
        many => format!("vec{}<f32>({})", many.len(), many.join(", ")),
    }
}
