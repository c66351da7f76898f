//! Slices of K within a workgroup: the family of small products with long sums, on real GPUs.
//!
//! Where C has few elements, tiles alone do not fill a GPU. Here several invocations share a tile:
//! each adds every so-many-th four terms of the sum, then they meet in workgroup memory, where the
//! partial sums are added in the order of the slices. One dispatch, one barrier, a fixed order.
//! Matrix times vector is the case of tiles with one row or one column.

use super::super::Writer;
use super::tile::Tile;
use super::{Entry, Product, component, vector};

/// A register tile, the invocations of a workgroup over C, and how many share each tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sliced {
    /// Rows of the tile, at most M.
    pub rows: u32,
    /// Columns of the tile, at most N and at most 4.
    pub cols: u32,
    /// Tiles of a workgroup side by side.
    pub across: u32,
    /// Tiles of a workgroup one below the other.
    pub down: u32,
    /// Invocations that share a tile.
    pub slices: u32,
}

impl Sliced {
    fn tiles(self) -> u32 {
        self.across * self.down
    }

    /// Bytes of workgroup memory.
    pub(super) fn bytes(self, row_sum: bool) -> u32 {
        let values = self.rows * (self.cols + u32::from(row_sum));
        self.tiles() * self.slices * values * 4
    }
}

/// Terms that an invocation adds before the next slice takes over.
pub(super) const TERMS: u32 = 4;

pub(super) fn kernel(product: &Product<'_>, v: Sliced) -> Entry {
    let tile = Tile::new(product, v.rows, v.cols);
    let (tiles, slices) = (v.tiles(), v.slices);
    let down = product.m.div_ceil(v.rows * v.down);
    let across = product.n.div_ceil(v.cols * v.across);
    let length = tiles * slices * v.rows;
    let mut functions = Writer::new();
    functions.line(format_args!(
        "var<workgroup> partial: array<{}, {length}>;",
        vector(v.cols)
    ));
    if product.row_sum.is_some() {
        functions.line(format_args!(
            "var<workgroup> partial_sum: array<f32, {length}>;"
        ));
    }
    let mut out = Writer::new();
    out.line(format_args!("let batch = index / {}u;", down * across));
    product.declare(&mut out);
    // Neighbouring invocations share a tile where neighbours in memory lie along K.
    let larger = if product.m >= product.n {
        &product.a
    } else {
        &product.b
    };
    let (tile_of, slice_of) = if larger.along_k {
        (format!("lane / {slices}u"), format!("lane % {slices}u"))
    } else {
        (format!("lane % {tiles}u"), format!("lane / {tiles}u"))
    };
    out.line(format_args!("let tile = {tile_of};"));
    out.line(format_args!("let slice = {slice_of};"));
    position(&mut out, product, v, [down, across], "tile", "");
    for (strip, lane) in [(&product.a, "row"), (&product.b, "col")] {
        let start = strip.start("batch", lane);
        let first = strip.advance(TERMS);
        out.line(format_args!(
            "var p{} = {start} + slice * {first}u;",
            strip.name
        ));
    }
    tile.lanes(&mut out);
    tile.zero(&mut out);
    sum(&mut out, &tile, product, slices);
    for i in 0..v.rows {
        let place = format!("({i}u * {slices}u + slice) * {tiles}u + tile");
        out.line(format_args!("partial[{place}] = c{i}_0;"));
        if product.row_sum.is_some() {
            let part = component(4.min(v.rows - i / 4 * 4), i % 4);
            out.line(format_args!("partial_sum[{place}] = sum{}{part};", i / 4));
        }
    }
    out.line("workgroupBarrier();");
    // Each row of each tile is finished by one invocation.
    let rows = tiles * v.rows;
    for round in 0..rows.div_ceil(tiles * slices) {
        let first = round * tiles * slices;
        let head = format!("if lane + {first}u < {rows}u");
        out.block(head, |out| {
            out.line(format_args!("let owner = (lane + {first}u) % {tiles}u;"));
            out.line(format_args!("let i = (lane + {first}u) / {tiles}u;"));
            position(out, product, v, [down, across], "owner", "o_");
            finish(out, product, v);
        });
    }
    Entry {
        name: "matmul",
        invocations: [tiles * slices, 1],
        groups: product.batch * down * across,
        workgroup_memory: v.bytes(product.row_sum.is_some()),
        functions: functions.finish(),
        body: out.finish(),
    }
}

/// Where a tile stands, under names with this prefix: its own elements start at `own_row` and
/// `own_col`, the tile, moved back from the edges, at `row` and `col`.
fn position(
    out: &mut Writer,
    product: &Product<'_>,
    v: Sliced,
    groups: [u32; 2],
    tile: &str,
    prefix: &str,
) {
    let [down, across] = groups;
    out.line(format_args!(
        "let {prefix}own_row = (index / {across}u % {down}u * {}u + {tile} / {}u) * {}u;",
        v.down, v.across, v.rows
    ));
    out.line(format_args!(
        "let {prefix}own_col = (index % {across}u * {}u + {tile} % {}u) * {}u;",
        v.across, v.across, v.cols
    ));
    for (name, size) in [("row", product.m - v.rows), ("col", product.n - v.cols)] {
        out.line(format_args!(
            "let {prefix}{name} = min({prefix}own_{name}, {size}u);"
        ));
    }
}

/// Adds this slice's share of the terms: fours in turn, then what is left.
fn sum(out: &mut Writer, tile: &Tile<'_>, product: &Product<'_>, slices: u32) {
    if product.phases.is_some() {
        let (terms, all) = (product.terms(), TERMS * slices);
        let head = format!("for (var at = slice * {TERMS}u; at < {terms}; at += {all}u)");
        out.block(head, |out| {
            tile.add(out, TERMS);
            tile.advance(out, all);
        });
        return;
    }
    let k = product.k;
    let rounds = k / (TERMS * slices);
    if rounds > 0 {
        let head = format!("for (var step = 0u; step < {rounds}u; step++)");
        out.block(head, |out| {
            tile.add(out, TERMS);
            tile.advance(out, TERMS * slices);
        });
    }
    let left = k - rounds * TERMS * slices;
    let whole = left / TERMS;
    if whole > 0 {
        let head = format!("if slice < {whole}u");
        out.block(head, |out| tile.add(out, TERMS));
    }
    if !left.is_multiple_of(TERMS) {
        let head = format!("if slice == {whole}u");
        out.block(head, |out| tile.add(out, left % TERMS));
    }
}

/// Adds the slices of row `i` of tile `owner`, in order, and stores it.
fn finish(out: &mut Writer, product: &Product<'_>, v: Sliced) {
    let (tiles, slices) = (v.tiles(), v.slices);
    let place = |slice: u32| format!("(i * {slices}u + {slice}u) * {tiles}u + owner");
    out.line(format_args!("var acc = partial[{}];", place(0)));
    for slice in 1..slices {
        out.line(format_args!("acc += partial[{}];", place(slice)));
    }
    out.block("if o_row + i >= o_own_row", |out| {
        if product.wide {
            out.block("if o_col >= o_own_col", |out| {
                out.line("store4(batch, o_row + i, o_col, acc);");
            });
        } else {
            for j in 0..v.cols {
                out.block(format_args!("if o_col + {j}u >= o_own_col"), |out| {
                    let part = component(v.cols, j);
                    out.line(format_args!(
                        "store(batch, o_row + i, o_col + {j}u, acc{part});"
                    ));
                });
            }
        }
        if product.row_sum.is_some() {
            out.block("if o_own_col == 0u", |out| {
                out.line(format_args!("var sum = partial_sum[{}];", place(0)));
                for slice in 1..slices {
                    out.line(format_args!("sum += partial_sum[{}];", place(slice)));
                }
                out.line("store_sum(batch, o_row + i, sum);");
            });
        }
    });
}
