//! The steps of a tiled attention: products of rows, sums of weighted rows, and how the invocations
//! of a workgroup meet.

use super::super::Writer;
use super::Pass;

/// Rows on either side of a tile.
pub(super) const TILE: u32 = 32;
/// Rows of an invocation, and invocations along the left side.
pub(super) const ROWS: u32 = 4;
pub(super) const DOWN: u32 = TILE / ROWS;
/// Groups of four elements of the rows that are multiplied at once, and words between rows.
const DEPTH: u32 = 4;
const PITCH: u32 = DEPTH + 1;
/// Vectors of the slice: rows of both sides, or whole rows of the right one.
pub(super) const SLICE: u32 = 2 * TILE * PITCH;
/// Vectors of a tile of weights, each four rows of one column.
pub(super) const WEIGHTS: u32 = TILE * DOWN;

/// Rows that are read, `load_<name>(b, position, head, c)`, with groups of four elements in each.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) head: &'static str,
    pub(super) chunks: u32,
}

/// What a part of the dispatch computes.
pub(super) struct Part<'p, 'a> {
    pub(super) pass: &'p Pass<'a>,
    /// Invocations along the right side.
    pub(super) across: u32,
    /// Positions on either side.
    pub(super) left: u32,
    pub(super) right: u32,
}

impl Part<'_, '_> {
    pub(super) fn invocations(&self) -> u32 {
        self.across * DOWN
    }

    /// Columns of an invocation.
    pub(super) fn cols(&self) -> u32 {
        TILE / self.across
    }

    /// Sums of an invocation along rows of so many groups of four.
    pub(super) fn sums(&self, chunks: u32) -> u32 {
        chunks.div_ceil(self.across)
    }

    /// `b`, `h` or `g`, and `left`, the first row, of the workgroup `number`.
    pub(super) fn place(&self, out: &mut Writer, number: &str, heads: u32, head: &str) {
        let tiles = self.left.div_ceil(TILE);
        out.line(format_args!("let left = {number} % {tiles}u * {TILE}u;"));
        out.line(format_args!("let {head} = {number} / {tiles}u % {heads}u;"));
        out.line(format_args!("let b = {number} / {}u;", tiles * heads));
    }

    /// Products of rows of both sides, `<name>0…`: a vector of four rows for each column.
    pub(super) fn product(&self, out: &mut Writer, name: &str, left: Side, right: Side) {
        for n in 0..self.cols() {
            out.line(format_args!("var {name}{n} = vec4<f32>();"));
        }
        let chunks = left.chunks;
        let head = format!("for (var c0 = 0u; c0 < {chunks}u; c0 += {DEPTH}u)");
        out.block(head, |out| {
            out.line("workgroupBarrier();");
            let (all, each) = (TILE * DEPTH, self.invocations());
            out.block(
                format_args!("for (var e = lane; e < {all}u; e += {each}u)"),
                |out| {
                    out.line(format_args!("let row = e / {DEPTH}u;"));
                    out.line(format_args!("let c = e % {DEPTH}u;"));
                    for (side, first, offset) in [(left, "left", 0), (right, "right", TILE * PITCH)]
                    {
                        let Side { name, head, .. } = side;
                        out.line(format_args!(
                            "slice[{offset}u + row * {PITCH}u + c] = \
                         load_{name}(b, {first} + row, {head}, c0 + c);"
                        ));
                    }
                },
            );
            out.line("workgroupBarrier();");
            out.block(format_args!("for (var c = 0u; c < {DEPTH}u; c++)"), |out| {
                for a in 0..ROWS {
                    out.line(format_args!(
                        "let l{a} = slice[(y * {ROWS}u + {a}u) * {PITCH}u + c];"
                    ));
                }
                for n in 0..self.cols() {
                    let col = n * self.across;
                    out.line(format_args!(
                        "let r{n} = slice[{}u + (x + {col}u) * {PITCH}u + c];",
                        TILE * PITCH
                    ));
                    let dots = (0..ROWS).map(|a| format!("dot(l{a}, r{n})"));
                    let dots = dots.collect::<Vec<_>>().join(", ");
                    out.line(format_args!("{name}{n} += vec4<f32>({dots});"));
                }
            });
        });
    }

    /// Adds weights times rows on the right to sums: `<name>{row}_{n}`.
    pub(super) fn accumulate(&self, out: &mut Writer, name: &str, right: Side) {
        let Side {
            name: rows,
            head,
            chunks,
        } = right;
        let mut step = TILE;
        while step * chunks > SLICE {
            step /= 2;
        }
        out.block(
            format_args!("for (var j0 = 0u; j0 < {TILE}u; j0 += {step}u)"),
            |out| {
                out.line("workgroupBarrier();");
                let (all, each) = (step * chunks, self.invocations());
                out.block(
                    format_args!("for (var e = lane; e < {all}u; e += {each}u)"),
                    |out| {
                        out.line(format_args!(
                    "slice[e] = load_{rows}(b, right + j0 + e / {chunks}u, {head}, e % {chunks}u);"
                ));
                    },
                );
                out.line("workgroupBarrier();");
                out.block(format_args!("for (var j = 0u; j < {step}u; j++)"), |out| {
                    out.line(format_args!("let w = weights[(j0 + j) * {DOWN}u + y];"));
                    for n in 0..self.sums(chunks) {
                        let c = self.chunk(n, chunks);
                        out.line(format_args!("let r{n} = slice[j * {chunks}u + {c}];"));
                        for (a, part) in ["x", "y", "z", "w"].into_iter().enumerate() {
                            out.line(format_args!("{name}{a}_{n} += w.{part} * r{n};"));
                        }
                    }
                });
            },
        );
    }

    /// The group of four that an invocation's sum `n` is; sums beyond the row repeat its last.
    pub(super) fn chunk(&self, n: u32, chunks: u32) -> String {
        let c = format!("x + {}u", n * self.across);
        match chunks.is_multiple_of(self.across) {
            true => c,
            false => format!("min({c}, {}u)", chunks - 1),
        }
    }

    pub(super) fn declare_sums(&self, out: &mut Writer, name: &str, chunks: u32) {
        for a in 0..ROWS {
            for n in 0..self.sums(chunks) {
                out.line(format_args!("var {name}{a}_{n} = vec4<f32>();"));
            }
        }
    }

    /// Stores sums; `factor` multiplies those of each row.
    pub(super) fn store_sums(
        &self,
        out: &mut Writer,
        name: &str,
        head: &str,
        chunks: u32,
        factor: &str,
    ) {
        for (a, part) in ["x", "y", "z", "w"].into_iter().enumerate() {
            for n in 0..self.sums(chunks) {
                let (c, row) = (n * self.across, format!("left + y * {ROWS}u + {a}u"));
                let factor = match factor {
                    "" => String::new(),
                    factor => format!(" * {factor}.{part}"),
                };
                out.line(format_args!(
                    "store_{name}(b, {row}, {head}, x + {c}u, {name}{a}_{n}{factor});"
                ));
            }
        }
    }

    /// A vector of what `value` gives for each of the four rows on the left.
    pub(super) fn rows(mut value: impl FnMut(&str) -> String) -> String {
        let all = (0..ROWS).map(|a| value(&format!("(left + y * {ROWS}u + {a}u)")));
        format!("vec4<f32>({})", all.collect::<Vec<_>>().join(", "))
    }

    pub(super) fn column(&self, n: u32) -> String {
        format!("(right + x + {}u)", n * self.across)
    }

    /// The loop over tiles on the right.
    pub(super) fn walk(
        &self,
        out: &mut Writer,
        start: &str,
        end: &str,
        body: impl FnOnce(&mut Writer),
    ) {
        let head = format!("for (var right = {start}; right < {end}; right += {TILE}u)");
        out.block(head, body);
    }

    /// Keys that some query of the tile attends to.
    pub(super) fn end(&self) -> String {
        match self.pass.kernel.op.causal {
            true => format!("min({}u, left + {TILE}u)", self.right),
            false => format!("{}u", self.right),
        }
    }

    pub(super) fn sides(&self) -> (Side, Side, Side) {
        let side = |name, head, chunks| Side { name, head, chunks };
        let (d, e) = (self.pass.width, self.pass.value_width);
        (side("q", "h", d), side("k", "g", d), side("v", "g", e))
    }

    /// Query and key of a row on the left and a column.
    pub(super) fn query_left(row: &str, column: &str) -> String {
        format!("{row}, {column}")
    }

    pub(super) fn query_right(row: &str, column: &str) -> String {
        format!("{column}, {row}")
    }

    /// Products `s{n}` become scores.
    pub(super) fn score(&self, out: &mut Writer, n: u32, at: fn(&str, &str) -> String) {
        let column = self.column(n);
        let mut parts = ["x", "y", "z", "w"].into_iter();
        let scores = Self::rows(|row| {
            let part = parts.next().unwrap_or("x");
            format!("score(s{n}.{part}, b, h, {})", at(row, &column))
        });
        out.line(format_args!("s{n} = {scores};"));
    }

    pub(super) fn put(&self, out: &mut Writer, n: u32, value: &str) {
        let col = n * self.across;
        out.line(format_args!(
            "weights[(x + {col}u) * {DOWN}u + y] = {value};"
        ));
    }

    /// Joins a vector of all invocations that share rows, in order.
    pub(super) fn meet(
        &self,
        out: &mut Writer,
        name: &str,
        own: &str,
        start: &str,
        join: impl Fn(&str, &str) -> String,
    ) {
        out.line("workgroupBarrier();");
        out.line(format_args!("meeting[x * {DOWN}u + y] = {own};"));
        out.line("workgroupBarrier();");
        out.line(format_args!("var {name} = {start};"));
        out.block(
            format_args!("for (var n = 0u; n < {}u; n++)", self.across),
            |out| {
                let joined = join(name, &format!("meeting[n * {DOWN}u + y]"));
                out.line(format_args!("{name} = {joined};"));
            },
        );
    }

    /// `δ` of 32 queries from `first` on into `meeting`, as single floats: some invocations for
    /// each, whose parts are added by `delta`.
    pub(super) fn deltas(&self, out: &mut Writer, first: &str, chunks: u32) {
        let parts = self.invocations() / TILE;
        out.line("workgroupBarrier();");
        out.block("", |out| {
            out.line(format_args!("let i = {first} + lane % {TILE}u;"));
            out.line("var delta = 0.0;");
            let head = format!("for (var c = lane / {TILE}u; c < {chunks}u; c += {parts}u)");
            out.block(head, |out| {
                out.line("delta += dot(load_y(b, i, h, c), load_dy(b, i, h, c));");
            });
            out.line("meeting[lane] = vec4<f32>(delta, load_sum(b, h, i), 0.0, 0.0);");
        });
        out.line("workgroupBarrier();");
    }

    /// `δ` of the query with this number in its tile.
    pub(super) fn delta(&self, query: &str) -> String {
        let parts = self.invocations() / TILE;
        let all = (0..parts).map(|p| format!("meeting[{query} + {}u].x", p * TILE));
        format!("({})", all.collect::<Vec<_>>().join(" + "))
    }
}
