//! Matrix multiplication: `C[b,m,n] = Σₖ A[b,m,k] · B[b,k,n]`, followed by an epilogue.
//!
//! Every family of kernels takes the same description and calls the same epilogue functions, so
//! any of them can stand in for any other. `choose` picks by shape and device class; `variants`
//! lists all that are legal for a shape, so that tests can force each.

mod choose;
mod epilogue;
mod register;
mod tile;

pub use choose::{choose, variants};
pub use epilogue::{Epilogue, Store};
pub use register::Register;

use super::{Access, Binding, Shader, Writer};

/// One multiplication. All numbers are baked into the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matmul {
    /// Number of independent products.
    pub batch: u32,
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A, rows of B: the terms of each sum. With 0, every sum is 0.
    pub k: u32,
    /// The left operand, `[M, K]`, or `[K, M]` in memory if transposed.
    pub a: Operand,
    /// The right operand, `[K, N]`, or `[N, K]` in memory if transposed.
    pub b: Operand,
    /// Whether to sum A over K as well, giving `[batch, M]`: the gradient of a bias comes for free
    /// in the kernel of the weight gradient, whose A is the gradient of the layer's output.
    pub row_sum: bool,
}

/// Where an operand lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// The caller's number for the buffer.
    pub buffer: usize,
    /// First element in the buffer.
    pub offset: u32,
    /// Whether memory holds the transpose.
    pub transposed: bool,
    /// Elements from one row in memory to the next.
    pub row_stride: u32,
    /// Elements from one matrix to the next; 0 broadcasts one matrix to the whole batch.
    pub batch_stride: u32,
}

/// How to compute a multiplication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Each invocation owns a tile in registers and reads both operands from memory. No workgroup
    /// memory, no barriers.
    Register(Register),
}

impl Matmul {
    /// The shader of this multiplication in this variant.
    ///
    /// Bindings: A, B, then those of the epilogue.
    pub fn shader(&self, variant: Variant, epilogue: &dyn Epilogue) -> Shader {
        match variant {
            Variant::Register(v) => register::shader(self, v, epilogue),
        }
    }

    /// Multiplications and additions, counted separately.
    pub fn flops(&self) -> u64 {
        2 * u64::from(self.batch) * u64::from(self.m) * u64::from(self.n) * u64::from(self.k)
    }

    /// A as the kernels see it: rows are its lanes.
    fn strip_a(&self) -> Strip {
        Strip::new("a", self.a, !self.a.transposed, self.m, self.k)
    }

    /// B as the kernels see it: columns are its lanes.
    fn strip_b(&self) -> Strip {
        Strip::new("b", self.b, self.b.transposed, self.n, self.k)
    }
}

/// An operand seen from the sum: K, and the *lanes* that do not take part in it (rows of A, columns
/// of B).
#[derive(Clone, Copy, Debug)]
struct Strip {
    name: &'static str,
    operand: Operand,
    /// Whether neighbours in memory are neighbours along K, not along the lanes.
    along_k: bool,
    /// Whether the buffer is read as `vec4<f32>`, so that one load fetches four neighbours.
    wide: bool,
}

impl Strip {
    fn new(name: &'static str, operand: Operand, along_k: bool, lanes: u32, k: u32) -> Self {
        let contiguous = if along_k { k } else { lanes };
        let wide = [
            contiguous,
            operand.row_stride,
            operand.batch_stride,
            operand.offset,
        ]
        .iter()
        .all(|v| v.is_multiple_of(4));
        Self {
            name,
            operand,
            along_k,
            wide,
        }
    }

    /// Elements per load.
    fn unit(&self) -> u32 {
        if self.wide { 4 } else { 1 }
    }

    /// The distance, in loads, between neighbours along (lanes, K).
    fn strides(&self) -> (u32, u32) {
        let row = self.operand.row_stride / self.unit();
        if self.along_k { (row, 1) } else { (1, row) }
    }

    /// The load at which lane `lane` of matrix `batch` starts (K = 0).
    fn start(&self, batch: &str, lane: &str) -> String {
        let unit = self.unit();
        let mut terms = Vec::new();
        if self.operand.offset != 0 {
            terms.push(format!("{}u", self.operand.offset / unit));
        }
        if self.operand.batch_stride != 0 {
            terms.push(format!("{batch} * {}u", self.operand.batch_stride / unit));
        }
        terms.push(match (self.along_k, unit) {
            (true, _) => format!("{lane} * {}u", self.operand.row_stride / unit),
            (false, 1) => lane.to_owned(),
            (false, _) => format!("{lane} / {unit}u"),
        });
        terms.join(" + ")
    }

    fn declare(&self, out: &mut Writer, binding: usize) -> Binding {
        let ty = if self.wide { "vec4<f32>" } else { "f32" };
        let name = self.name;
        out.line(format_args!(
            "@group(0) @binding({binding}) var<storage, read> {name}: array<{ty}>;"
        ));
        Binding {
            buffer: self.operand.buffer,
            access: Access::Read,
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
