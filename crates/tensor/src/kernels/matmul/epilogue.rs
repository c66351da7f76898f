//! What happens to each element of a product before it is stored.

use super::super::{Access, Binding, Writer};

/// Stores the elements of a product.
///
/// An epilogue declares its bindings and, as WGSL functions that the kernel calls once for every
/// element:
///
/// ```wgsl
/// fn store(batch: u32, row: u32, col: u32, acc: f32)         // if not wide
/// fn store4(batch: u32, row: u32, col: u32, acc: vec4<f32>)  // if wide; col is a multiple of 4
/// fn store_sum(batch: u32, row: u32, sum: f32)               // if the product has a row sum
/// ```
pub trait Epilogue {
    /// Whether it can store four neighbours of a row at once, given that N is a multiple of 4.
    fn can_be_wide(&self) -> bool;

    /// Writes declarations and functions; bindings are numbered from `first`.
    fn declare(&self, out: &mut Writer, first: usize, wide: bool) -> Vec<Binding>;

    /// Whether it reads the step row.
    fn step_row(&self) -> bool {
        false
    }
}

/// The plain epilogue: stores the product as it is, `[batch, M, N]`, rows contiguous.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    /// The caller's number for the output buffer.
    pub buffer: usize,
    /// First element in it.
    pub offset: u32,
    /// M, to find the matrices of a batch.
    pub m: u32,
    /// N, to find the rows.
    pub n: u32,
    /// Buffer and first element of the row sums, `[batch, M]`.
    pub sum: Option<(usize, u32)>,
}

impl Epilogue for Store {
    fn can_be_wide(&self) -> bool {
        self.offset.is_multiple_of(4)
    }

    fn declare(&self, out: &mut Writer, first: usize, wide: bool) -> Vec<Binding> {
        let (ty, name, unit) = if wide {
            ("vec4<f32>", "store4", 4)
        } else {
            ("f32", "store", 1)
        };
        let (m, row, offset) = (self.m, self.n / unit, self.offset / unit);
        let col = if wide { "col / 4u" } else { "col" };
        out.line(format_args!(
            "@group(0) @binding({first}) var<storage, read_write> c: array<{ty}>;"
        ));
        let mut bindings = vec![write(self.buffer)];
        if let Some((buffer, _)) = self.sum {
            let binding = first + 1;
            out.line(format_args!(
                "@group(0) @binding({binding}) var<storage, read_write> row_sum: array<f32>;"
            ));
            bindings.push(write(buffer));
        }
        out.blank();
        let head = format!("fn {name}(batch: u32, row: u32, col: u32, acc: {ty})");
        out.block(head, |out| {
            out.line(format_args!(
                "c[{offset}u + (batch * {m}u + row) * {row}u + {col}] = acc;"
            ));
        });
        if let Some((_, offset)) = self.sum {
            out.block("fn store_sum(batch: u32, row: u32, sum: f32)", |out| {
                out.line(format_args!(
                    "row_sum[{offset}u + batch * {m}u + row] = sum;"
                ));
            });
        }
        bindings
    }
}

fn write(buffer: usize) -> Binding {
    Binding {
        buffer,
        access: Access::ReadWrite,
    }
}
