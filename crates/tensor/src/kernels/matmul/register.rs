//! Register tiles straight from memory: the family of software devices.
//!
//! Such devices run the invocations of a workgroup along x as the lanes of a vector unit, so a
//! workgroup is one-dimensional, and neither barriers nor workgroup memory pay. At an edge the
//! tile is moved back so that it lies inside the matrix, which leaves the loop over K without a
//! single test; the elements that another invocation owns are computed twice and stored once.

use super::super::{Shader, Writer, fold};
use super::tile::Tile;
use super::{Epilogue, Matmul, chunks, component};

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
}

/// Trips of the loop over K, kept well below the 65,535 after which lavapipe 22.3 ends all loops
/// of an invocation without an error.
const MAX_TRIPS: u32 = 50_000;

pub(super) fn shader(matmul: &Matmul, v: Register, epilogue: &dyn Epilogue) -> Shader {
    let tile = Tile::new(matmul, v.rows, v.cols);
    let wide = matmul.n.is_multiple_of(4) && v.cols.is_multiple_of(4) && epilogue.can_be_wide();
    let mut out = Writer::new();
    let mut bindings = vec![tile.a.declare(&mut out, 0), tile.b.declare(&mut out, 1)];
    bindings.extend(epilogue.declare(&mut out, 2, wide));

    let down = matmul.m.div_ceil(v.rows * v.down);
    let across = matmul.n.div_ceil(v.cols * v.across);
    let groups = matmul.batch * down * across;
    let grid = fold(groups);

    out.blank();
    out.line(format_args!(
        "@compute @workgroup_size({})",
        v.across * v.down
    ));
    let head = "fn matmul(@builtin(workgroup_id) group: vec3<u32>, \
                @builtin(local_invocation_index) lane: u32)";
    out.block(head, |out| {
        position(out, matmul, v, grid, [down, across]);
        for strip in [&tile.a, &tile.b] {
            let name = strip.name;
            let lane = if name == "a" { "row" } else { "col" };
            let keyword = if matmul.k > 0 { "var" } else { "let" };
            out.line(format_args!(
                "{keyword} p{name} = {};",
                strip.start("batch", lane)
            ));
        }
        tile.zero(out);
        sum(out, &tile, matmul.k);
        store(out, matmul, v, wide);
    });
    Shader {
        wgsl: out.finish(),
        entry: "matmul",
        grid,
        bindings,
        step_row: epilogue.step_row(),
    }
}

/// Finds the batch and the first row and column of this invocation's tile: `row_end`-ward moves
/// are undone by comparing with `own_row` and `own_col`, where its own elements start.
fn position(out: &mut Writer, matmul: &Matmul, v: Register, grid: [u32; 3], tiles: [u32; 2]) {
    let [down, across] = tiles;
    out.line(if grid[1] == 1 {
        "let index = group.x;".to_owned()
    } else {
        format!("let index = group.y * {}u + group.x;", grid[0])
    });
    let groups = matmul.batch * down * across;
    if grid[0] * grid[1] != groups {
        out.line(format_args!("if index >= {groups}u {{ return; }}"));
    }
    out.line(format_args!("let batch = index / {}u;", down * across));
    let (lane_row, lane_col) = match (v.down, v.across) {
        (1, _) => ("0u".to_owned(), "lane".to_owned()),
        (_, 1) => ("lane".to_owned(), "0u".to_owned()),
        (_, across) => (format!("lane / {across}u"), format!("lane % {across}u")),
    };
    out.line(format_args!(
        "let own_row = (index / {across}u % {down}u * {}u + {lane_row}) * {}u;",
        v.down, v.rows
    ));
    out.line(format_args!(
        "let own_col = (index % {across}u * {}u + {lane_col}) * {}u;",
        v.across, v.cols
    ));
    for (name, size, tile) in [("row", matmul.m, v.rows), ("col", matmul.n, v.cols)] {
        out.line(if overhangs(v, matmul, name) {
            format!("let {name} = min(own_{name}, {}u);", size - tile)
        } else {
            format!("let {name} = own_{name};")
        });
    }
}

/// Whether the workgroups cover more rows or columns than there are.
fn overhangs(v: Register, matmul: &Matmul, axis: &str) -> bool {
    if axis == "row" {
        !matmul.m.is_multiple_of(v.rows * v.down)
    } else {
        !matmul.n.is_multiple_of(v.cols * v.across)
    }
}

/// Walks K.
fn sum(out: &mut Writer, tile: &Tile, k: u32) {
    let mut terms = 4;
    while k / terms > MAX_TRIPS {
        terms *= 2;
    }
    if k >= terms {
        let head = format!("for (var step = 0u; step < {}u; step++)", k / terms);
        out.block(head, |out| {
            tile.add(out, terms);
            tile.advance(out, terms);
        });
    }
    if k % terms != 0 {
        out.block("", |out| tile.add(out, k % terms));
    }
}

fn store(out: &mut Writer, matmul: &Matmul, v: Register, wide: bool) {
    let overhang = ["row", "col"].map(|axis| overhangs(v, matmul, axis));
    for i in 0..v.rows {
        guarded(out, overhang[0], "row", i, |out| {
            for (q, (start, width)) in chunks(v.cols).enumerate() {
                if wide {
                    guarded(out, overhang[1], "col", start, |out| {
                        out.line(format_args!(
                            "store4(batch, row + {i}u, col + {start}u, c{i}_{q});"
                        ));
                    });
                    continue;
                }
                for j in 0..width {
                    guarded(out, overhang[1], "col", start + j, |out| {
                        out.line(format_args!(
                            "store(batch, row + {i}u, col + {}u, c{i}_{q}{});",
                            start + j,
                            component(width, j)
                        ));
                    });
                }
            }
        });
    }
    if !matmul.row_sum {
        return;
    }
    out.block("if own_col == 0u", |out| {
        for (q, (start, width)) in chunks(v.rows).enumerate() {
            for j in 0..width {
                let i = start + j;
                guarded(out, overhang[0], "row", i, |out| {
                    out.line(format_args!(
                        "store_sum(batch, row + {i}u, sum{q}{});",
                        component(width, j)
                    ));
                });
            }
        }
    });
}

/// Writes `body`, for the elements that are this invocation's own.
fn guarded(out: &mut Writer, on: bool, axis: &str, at: u32, body: impl FnOnce(&mut Writer)) {
    if on {
        out.block(format_args!("if {axis} + {at}u >= own_{axis}"), body);
    } else {
        body(out);
    }
}
