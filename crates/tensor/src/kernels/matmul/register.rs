//! Register tiles straight from memory: the family of software devices.
//!
//! Such devices run the invocations of a workgroup along x as the lanes of a vector unit, so a
//! workgroup is one-dimensional, and neither barriers nor workgroup memory pay. At an edge the
//! tile is moved back so that it lies inside the matrix, which leaves the loop over K without a
//! single test; the elements that another invocation owns are computed twice and stored once.

use super::super::{MAX_TRIPS, Writer};
use super::tile::{Shared, Tile};
use super::{Entry, Product, chunks, component, vector};

/// A register tile and how a workgroup's invocations are laid over C.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// Rows of the tile, at most M.
    pub rows: u32,
    /// Columns of the tile, at most N.
    pub cols: u32,
    /// Invocations of a workgroup side by side.
    pub across: u32,
    /// Invocations of a workgroup one below the other.
    pub down: u32,
    /// Whether the workgroup is one subgroup, side by side or one below the other, and shares the
    /// operand that all of it needs.
    pub shared: bool,
}

pub(super) fn kernel(product: &Product<'_>, v: Register) -> Entry {
    let shared = v.shared.then(|| Shared {
        name: if v.down == 1 { "a" } else { "b" },
        subgroup: v.across * v.down,
    });
    let tile = Tile::new(product, v.rows, v.cols).sharing(shared);
    let down = product.m.div_ceil(v.rows * v.down);
    let across = product.n.div_ceil(v.cols * v.across);
    let mut out = Writer::new();
    position(&mut out, product, v, [down, across]);
    let keyword = if product.k > 0 { "var" } else { "let" };
    for (strip, lane) in [(&product.a, "row"), (&product.b, "col")] {
        let start = strip.start("batch", lane);
        out.line(format_args!("{keyword} p{} = {start};", strip.name));
    }
    tile.lanes(&mut out);
    tile.zero(&mut out);
    sum(&mut out, &tile, product);
    store(&mut out, product, v);
    Entry {
        name: "matmul",
        invocations: [v.across * v.down, 1],
        groups: product.batch * down * across,
        workgroup_memory: 0,
        functions: String::new(),
        body: out.finish(),
    }
}

/// Finds the batch and where this invocation's tile starts: its own elements at `own_row` and
/// `own_col`, the tile, moved back from the edges, at `row` and `col`.
fn position(out: &mut Writer, product: &Product<'_>, v: Register, tiles: [u32; 2]) {
    let [down, across] = tiles;
    let (lane_row, lane_col) = match (v.down, v.across) {
        (1, _) => ("0u".to_owned(), "lane".to_owned()),
        (_, 1) => ("lane".to_owned(), "0u".to_owned()),
        (_, across) => (format!("lane / {across}u"), format!("lane % {across}u")),
    };
    out.line(format_args!("let batch = index / {}u;", down * across));
    product.declare(out);
    out.line(format_args!(
        "let own_row = (index / {across}u % {down}u * {}u + {lane_row}) * {}u;",
        v.down, v.rows
    ));
    out.line(format_args!(
        "let own_col = (index % {across}u * {}u + {lane_col}) * {}u;",
        v.across, v.cols
    ));
    let [down, across] = overhang(product, v);
    for (name, size, tile, overhang) in [
        ("row", product.m, v.rows, down),
        ("col", product.n, v.cols, across),
    ] {
        out.line(if overhang {
            format!("let {name} = min(own_{name}, {}u);", size - tile)
        } else {
            format!("let {name} = own_{name};")
        });
    }
}

/// Whether the workgroups cover more rows, or more columns, than there are.
fn overhang(product: &Product<'_>, v: Register) -> [bool; 2] {
    [
        !product.m.is_multiple_of(v.rows * v.down),
        !product.n.is_multiple_of(v.cols * v.across),
    ]
}

/// Terms of one turn of the loop over K.
pub(super) fn unit(k: u32) -> u32 {
    let mut terms = 4;
    while (k / terms) as usize > MAX_TRIPS {
        terms *= 2;
    }
    terms
}

/// Walks K.
fn sum(out: &mut Writer, tile: &Tile<'_>, product: &Product<'_>) {
    let (k, terms) = (product.k, unit(product.k));
    if product.phases.is_some() {
        let head = format!(
            "for (var at = 0u; at < {}; at += {terms}u)",
            product.terms()
        );
        out.block(head, |out| {
            tile.add(out, terms);
            tile.advance(out, terms);
        });
        return;
    }
    if k >= terms {
        let head = format!("for (var step = 0u; step < {}u; step++)", k / terms);
        out.block(head, |out| {
            tile.add(out, terms);
            tile.advance(out, terms);
        });
    }
    if !k.is_multiple_of(terms) {
        out.block("", |out| tile.add(out, k % terms));
    }
}

/// Stores the tile, row by row in a loop: the epilogue may be long, and many copies of it keep the
/// device's compiler busy for seconds.
fn store(out: &mut Writer, product: &Product<'_>, v: Register) {
    let [down, across] = overhang(product, v);
    for (q, (_, width)) in chunks(v.cols).enumerate() {
        let rows: Vec<_> = (0..v.rows).map(|i| format!("c{i}_{q}")).collect();
        let (ty, rows) = (vector(width), rows.join(", "));
        out.line(format_args!(
            "var tile{q} = array<{ty}, {}>({rows});",
            v.rows
        ));
    }
    // Every batch is below the limit; but that the compiler does not know, so it cannot unroll.
    out.line(format_args!(
        "let rows = select(0u, {}u, batch < {}u);",
        v.rows, product.batch
    ));
    let head = "for (var i = 0u; i < rows; i++)";
    out.block(head, |out| {
        guarded(out, down, "row", "i", |out| {
            for (q, (start, width)) in chunks(v.cols).enumerate() {
                if product.wide {
                    guarded(out, across, "col", &format!("{start}u"), |out| {
                        out.line(format_args!(
                            "store4(batch, row + i, col + {start}u, tile{q}[i]);"
                        ));
                    });
                    continue;
                }
                for j in 0..width {
                    let (col, part) = (format!("{}u", start + j), component(width, j));
                    guarded(out, across, "col", &col, |out| {
                        out.line(format_args!(
                            "store(batch, row + i, col + {col}, tile{q}[i]{part});"
                        ));
                    });
                }
            }
        });
    });
    if product.row_sum.is_none() {
        return;
    }
    out.block("if own_col == 0u", |out| {
        for (q, (start, width)) in chunks(v.rows).enumerate() {
            for j in 0..width {
                let (i, part) = (format!("{}u", start + j), component(width, j));
                guarded(out, down, "row", &i, |out| {
                    out.line(format_args!("store_sum(batch, row + {i}, sum{q}{part});"));
                });
            }
        }
    });
}

/// Writes `body`, for the elements that are this invocation's own.
fn guarded(out: &mut Writer, on: bool, axis: &str, at: &str, body: impl FnOnce(&mut Writer)) {
    if on {
        out.block(format_args!("if {axis} + {at} >= own_{axis}"), body);
    } else {
        body(out);
    }
}
