//! Tiles in workgroup memory: the family of real GPUs.
//!
//! A workgroup computes a block of C. Step by step along K it brings a slice of A and of B into
//! workgroup memory, from where every invocation feeds its register tile: each value is fetched
//! from memory once for the block instead of once for every tile.
//!
//! Slices are stored with K outermost, whatever the layout of the operand, so that what an
//! invocation reads for one term is contiguous. Lines are padded by four elements: that keeps them
//! aligned to 16 bytes and spreads the transposing writes over the banks. An invocation owns blocks
//! of 4 × 4 that are spread over the whole block, so that neighbouring invocations read
//! neighbouring vectors and no two of them meet in a bank.

use super::super::Writer;
use super::side::Side;
use super::tile::zero;
use super::{Entry, Product, component, compose};

/// A block of C, the slice of K that workgroup memory holds, and an invocation's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tiled {
    /// Rows of the block.
    pub rows: u32,
    /// Columns of the block.
    pub cols: u32,
    /// Terms of the sum in workgroup memory.
    pub depth: u32,
    /// Rows of an invocation, a multiple of 4.
    pub tile_rows: u32,
    /// Columns of an invocation, a multiple of 4.
    pub tile_cols: u32,
}

impl Tiled {
    pub(super) fn invocations(self) -> u32 {
        (self.rows / self.tile_rows) * (self.cols / self.tile_cols)
    }
}

pub(super) fn kernel(product: &Product<'_>, v: Tiled) -> Entry {
    let down = product.m.div_ceil(v.rows);
    let across = product.n.div_ceil(v.cols);
    let sides = [
        Side::new(&product.a, "row", product.m, v.rows),
        Side::new(&product.b, "col", product.n, v.cols),
    ];
    let mut functions = Writer::new();
    for side in &sides {
        functions.line(format_args!(
            "var<workgroup> tile_{}: array<f32, {}>;",
            side.strip.name,
            side.line() * v.depth
        ));
    }
    let mut out = Writer::new();
    out.line(format_args!("let batch = index / {}u;", down * across));
    product.declare(&mut out);
    out.line(format_args!(
        "let row0 = index / {across}u % {down}u * {}u;",
        v.rows
    ));
    out.line(format_args!("let col0 = index % {across}u * {}u;", v.cols));
    let width = v.cols / v.tile_cols;
    // Not from `lane`: compilers see that these are multiples of four, and load vectors.
    out.line("let tile_row = local.y * 4u;");
    out.line("let tile_col = local.x * 4u;");
    zero(&mut out, v.tile_rows, v.tile_cols);
    if product.row_sum.is_some() {
        out.line("var sum = 0.0;");
    }
    if product.k > 0 {
        for side in &sides {
            side.start(&mut out, v);
        }
        let last = v.depth - 1;
        let steps = match product.phases {
            Some(_) => format!("({} + {last}u) / {}u", product.terms(), v.depth),
            None => format!("{}u", product.k.div_ceil(v.depth)),
        };
        let head = format!("for (var step = 0u; step < {steps}; step++)");
        out.block(head, |out| step(out, product, v, &sides));
    }
    store(&mut out, product, v);
    let floats: u32 = sides.iter().map(|s| s.line() * v.depth).sum();
    Entry {
        name: "matmul",
        invocations: [width, v.rows / v.tile_rows],
        groups: product.batch * down * across,
        workgroup_memory: floats * 4,
        functions: functions.finish(),
        body: out.finish(),
    }
}

/// Fetches a slice of both operands and adds its terms.
fn step(out: &mut Writer, product: &Product<'_>, v: Tiled, sides: &[Side<'_>; 2]) {
    // All loads are on their way before the first is waited for.
    for side in sides {
        side.load(out, product, v);
    }
    for side in sides {
        side.publish(out, v);
    }
    out.line("workgroupBarrier();");
    let [a, b] = sides;
    for k in 0..v.depth {
        for (side, tile, own) in [(a, v.tile_rows, "tile_row"), (b, v.tile_cols, "tile_col")] {
            let name = side.strip.name;
            for block in 0..tile / 4 {
                let first = k * side.line() + block * (side.block / (tile / 4));
                let parts: Vec<_> = (0..4)
                    .map(|i| format!("tile_{name}[{own} + {}u]", first + i))
                    .collect();
                out.line(format_args!("let {name}{k}_{block} = {};", compose(&parts)));
            }
        }
        for i in 0..v.tile_rows {
            for q in 0..v.tile_cols / 4 {
                let part = component(4, i % 4);
                out.line(format_args!("c{i}_{q} += a{k}_{}{part} * b{k}_{q};", i / 4));
            }
        }
    }
    if product.row_sum.is_some() {
        // The first column of blocks sums A while it lies in workgroup memory.
        out.block(format_args!("if col0 == 0u && lane < {}u", v.rows), |out| {
            for k in 0..v.depth {
                out.line(format_args!("sum += tile_a[lane + {}u];", k * a.line()));
            }
        });
    }
    // Nobody may overwrite the slice that another invocation still reads.
    out.line("workgroupBarrier();");
}

fn store(out: &mut Writer, product: &Product<'_>, v: Tiled) {
    let (rows, cols) = (v.tile_rows / 4, v.tile_cols / 4);
    for i in 0..v.tile_rows {
        out.block("", |out| {
            let first = i / 4 * (v.rows / rows) + i % 4;
            out.line(format_args!("let row = row0 + tile_row + {first}u;"));
            guarded(
                out,
                !product.m.is_multiple_of(v.rows),
                "row",
                product.m,
                |out| {
                    for q in 0..cols {
                        let col = format!("col0 + tile_col + {}u", q * (v.cols / cols));
                        let edge = !product.n.is_multiple_of(v.cols);
                        out.line(format_args!("let col_{q} = {col};"));
                        if product.wide {
                            guarded(out, edge, &format!("col_{q}"), product.n, |out| {
                                out.line(format_args!("store4(batch, row, col_{q}, c{i}_{q});"));
                            });
                            continue;
                        }
                        for j in 0..4 {
                            let (at, part) = (format!("col_{q} + {j}u"), component(4, j));
                            guarded(out, edge, &at, product.n, |out| {
                                out.line(format_args!("store(batch, row, {at}, c{i}_{q}{part});"));
                            });
                        }
                    }
                },
            );
        });
    }
    if product.row_sum.is_some() {
        let m = product.m;
        let head = format!("if col0 == 0u && lane < {}u && row0 + lane < {m}u", v.rows);
        out.block(head, |out| out.line("store_sum(batch, row0 + lane, sum);"));
    }
}

/// Writes `body` for positions below the end.
fn guarded(out: &mut Writer, on: bool, at: &str, end: u32, body: impl FnOnce(&mut Writer)) {
    if on {
        out.block(format_args!("if {at} < {end}u"), body);
    } else {
        body(out);
    }
}
