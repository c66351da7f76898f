//! A workgroup for 32 queries or keys: the family for GPUs.
//!
//! The rows that a workgroup owns are on the *left*; it walks over those on the *right*, 32 at a
//! time. Products of both become weights in registers, four rows by a few columns for each
//! invocation, which meet in workgroup memory; there they are multiplied with rows on the right,
//! into sums that stay in registers. Reading rows goes through one slice of workgroup memory.

use super::super::Writer;
use super::super::module::Entry;
use super::{LOWEST, Pass};
use crate::kernels::ShaderError;

/// Rows on either side of a tile.
const TILE: u32 = 32;
/// Rows of an invocation, and invocations along the left side.
const ROWS: u32 = 4;
const DOWN: u32 = TILE / ROWS;
/// Groups of four elements of the rows that are multiplied at once, and words between rows.
const DEPTH: u32 = 4;
const PITCH: u32 = DEPTH + 1;
/// Vectors of the slice: rows of both sides, or whole rows of the right one.
const SLICE: u32 = 2 * TILE * PITCH;
/// Vectors of a tile of weights, each four rows of one column.
const WEIGHTS: u32 = TILE * DOWN;

/// Rows that are read, `load_<name>(b, position, head, c)`, with groups of four elements in each.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    head: &'static str,
    chunks: u32,
}

/// What a part of the dispatch computes.
struct Part<'p, 'a> {
    pass: &'p Pass<'a>,
    /// Invocations along the right side.
    across: u32,
    /// Positions on either side.
    left: u32,
    right: u32,
}

pub(super) fn entry(pass: &Pass<'_>) -> Result<Entry, ShaderError> {
    // Wide rows leave fewer sums for each of more invocations.
    let across = if pass.width.max(pass.value_width) > 8 {
        16
    } else {
        8
    };
    let part = |left, right| Part {
        pass,
        across,
        left,
        right,
    };
    let (by_queries, by_keys) = (part(pass.queries, pass.keys), part(pass.keys, pass.queries));
    let queries = pass.batch * pass.heads * pass.queries.div_ceil(TILE);
    let keys = pass.batch * pass.groups * pass.keys.div_ceil(TILE);
    let [dq, dk, dv] = pass.wanted();
    let mut out = Writer::new();
    out.line(format_args!("let x = lane % {across}u;"));
    out.line(format_args!("let y = lane / {across}u;"));
    let groups = if !(dq || dk || dv) {
        by_queries.forward(&mut out);
        queries
    } else {
        let first = if dq { queries } else { 0 };
        // Which part a workgroup has is the same for all of its invocations.
        if dq {
            out.block(format_args!("if index < {first}u"), |out| {
                by_queries.backward_queries(out);
            });
        }
        if dk || dv {
            out.block(format_args!("if index >= {first}u"), |out| {
                out.line(format_args!("let number = index - {first}u;"));
                by_keys.backward_keys(out);
            });
        }
        first + if dk || dv { keys } else { 0 }
    };
    let mut functions = Writer::new();
    functions.line(format_args!(
        "var<workgroup> slice: array<vec4<f32>, {SLICE}>;"
    ));
    functions.line(format_args!(
        "var<workgroup> weights: array<vec4<f32>, {WEIGHTS}>;"
    ));
    let meeting = across * DOWN;
    functions.line(format_args!(
        "var<workgroup> meeting: array<vec4<f32>, {meeting}>;"
    ));
    functions.text(&pass.functions);
    Ok(Entry {
        name: "attention",
        invocations: [across * DOWN, 1],
        groups,
        workgroup_memory: 16 * (SLICE + WEIGHTS + meeting),
        functions: functions.finish(),
        body: out.finish(),
    })
}

impl Part<'_, '_> {
    fn invocations(&self) -> u32 {
        self.across * DOWN
    }

    /// Columns of an invocation.
    fn cols(&self) -> u32 {
        TILE / self.across
    }

    /// Sums of an invocation along rows of so many groups of four.
    fn sums(&self, chunks: u32) -> u32 {
        chunks.div_ceil(self.across)
    }

    /// `b`, `h` or `g`, and `left`, the first row, of the workgroup `number`.
    fn place(&self, out: &mut Writer, number: &str, heads: u32, head: &str) {
        let tiles = self.left.div_ceil(TILE);
        out.line(format_args!("let left = {number} % {tiles}u * {TILE}u;"));
        out.line(format_args!("let {head} = {number} / {tiles}u % {heads}u;"));
        out.line(format_args!("let b = {number} / {}u;", tiles * heads));
    }

    /// Products of rows of both sides, `<name>0…`: a vector of four rows for each column.
    fn product(&self, out: &mut Writer, name: &str, left: Side, right: Side) {
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
    fn accumulate(&self, out: &mut Writer, name: &str, right: Side) {
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
    fn chunk(&self, n: u32, chunks: u32) -> String {
        let c = format!("x + {}u", n * self.across);
        match chunks.is_multiple_of(self.across) {
            true => c,
            false => format!("min({c}, {}u)", chunks - 1),
        }
    }

    fn declare_sums(&self, out: &mut Writer, name: &str, chunks: u32) {
        for a in 0..ROWS {
            for n in 0..self.sums(chunks) {
                out.line(format_args!("var {name}{a}_{n} = vec4<f32>();"));
            }
        }
    }

    /// Stores sums; `factor` multiplies those of each row.
    fn store_sums(&self, out: &mut Writer, name: &str, head: &str, chunks: u32, factor: &str) {
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
    fn rows(mut value: impl FnMut(&str) -> String) -> String {
        let all = (0..ROWS).map(|a| value(&format!("(left + y * {ROWS}u + {a}u)")));
        format!("vec4<f32>({})", all.collect::<Vec<_>>().join(", "))
    }

    fn column(&self, n: u32) -> String {
        format!("(right + x + {}u)", n * self.across)
    }

    /// The loop over tiles on the right.
    fn walk(&self, out: &mut Writer, start: &str, end: &str, body: impl FnOnce(&mut Writer)) {
        let head = format!("for (var right = {start}; right < {end}; right += {TILE}u)");
        out.block(head, body);
    }

    /// Keys that some query of the tile attends to.
    fn end(&self) -> String {
        match self.pass.kernel.op.causal {
            true => format!("min({}u, left + {TILE}u)", self.right),
            false => format!("{}u", self.right),
        }
    }

    fn forward(&self, out: &mut Writer) {
        let pass = self.pass;
        self.place(out, "index", pass.heads, "h");
        out.line(format_args!("let g = h / {}u;", pass.shared));
        let (q, k, v) = self.sides();
        self.declare_sums(out, "y", v.chunks);
        out.line(format_args!("var most = vec4<f32>({LOWEST});"));
        out.line("var sum = vec4<f32>();");
        let end = self.end();
        self.walk(out, "0u", &end, |out| {
            self.product(out, "s", q, k);
            for n in 0..self.cols() {
                self.score(out, n, Self::query_left);
            }
            let all = (0..self.cols()).map(|n| format!("s{n}"));
            let top = all
                .reduce(|a, b| format!("max({a}, {b})"))
                .unwrap_or_default();
            self.meet(out, "top", &top, "most", |a, b| format!("max({a}, {b})"));
            out.line("let fade = exp(most - top);");
            out.line("most = top;");
            out.line("sum *= fade;");
            for n in 0..self.cols() {
                let parts = ["x", "y", "z", "w"].map(|p| format!("weight(s{n}.{p}, top.{p})"));
                out.line(format_args!("var p{n} = vec4<f32>({});", parts.join(", ")));
                out.line(format_args!("sum += p{n};"));
                if pass.drops() {
                    let j = self.column(n);
                    let kept = Self::rows(|i| format!("kept(b, h, {i}, {j})"));
                    out.line(format_args!("p{n} *= {kept};"));
                }
                self.put(out, n, &format!("p{n}"));
            }
            for a in 0..ROWS as usize {
                let part = ["x", "y", "z", "w"][a];
                for n in 0..self.sums(v.chunks) {
                    out.line(format_args!("y{a}_{n} *= fade.{part};"));
                }
            }
            self.accumulate(out, "y", v);
        });
        self.meet(out, "total", "sum", "vec4<f32>()", |a, b| {
            format!("{a} + {b}")
        });
        out.line("let some = total > vec4<f32>();");
        out.line("let share = select(vec4<f32>(), 1.0 / total, some);");
        self.store_sums(out, "y", "h", v.chunks, "share");
        if pass.writes_sums() {
            out.line("let log_sum = select(vec4<f32>(), most + log(total), some);");
            out.block("if x == 0u", |out| {
                for (a, part) in ["x", "y", "z", "w"].into_iter().enumerate() {
                    let row = format!("left + y * {ROWS}u + {a}u");
                    out.block(format_args!("if {row} < {}u", self.left), |out| {
                        out.line(format_args!("store_sum(b, h, {row}, log_sum.{part});"));
                    });
                }
            });
        }
    }

    fn sides(&self) -> (Side, Side, Side) {
        let side = |name, head, chunks| Side { name, head, chunks };
        let (d, e) = (self.pass.width, self.pass.value_width);
        (side("q", "h", d), side("k", "g", d), side("v", "g", e))
    }

    /// Query and key of a row on the left and a column.
    fn query_left(row: &str, column: &str) -> String {
        format!("{row}, {column}")
    }

    fn query_right(row: &str, column: &str) -> String {
        format!("{column}, {row}")
    }

    /// Products `s{n}` become scores.
    fn score(&self, out: &mut Writer, n: u32, at: fn(&str, &str) -> String) {
        let column = self.column(n);
        let mut parts = ["x", "y", "z", "w"].into_iter();
        let scores = Self::rows(|row| {
            let part = parts.next().unwrap_or("x");
            format!("score(s{n}.{part}, b, h, {})", at(row, &column))
        });
        out.line(format_args!("s{n} = {scores};"));
    }

    fn put(&self, out: &mut Writer, n: u32, value: &str) {
        let col = n * self.across;
        out.line(format_args!(
            "weights[(x + {col}u) * {DOWN}u + y] = {value};"
        ));
    }

    /// Joins a vector of all invocations that share rows, in order.
    fn meet(
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
    fn deltas(&self, out: &mut Writer, first: &str, chunks: u32) {
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
    fn delta(&self, query: &str) -> String {
        let parts = self.invocations() / TILE;
        let all = (0..parts).map(|p| format!("meeting[{query} + {}u].x", p * TILE));
        format!("({})", all.collect::<Vec<_>>().join(" + "))
    }

    fn backward_queries(&self, out: &mut Writer) {
        let pass = self.pass;
        self.place(out, "index", pass.heads, "h");
        out.line(format_args!("let g = h / {}u;", pass.shared));
        let (q, k, v) = self.sides();
        let dy = Side {
            name: "dy",
            head: "h",
            ..v
        };
        self.deltas(out, "left", dy.chunks);
        let local = |a: u32| format!("(y * {ROWS}u + {a}u)");
        let of = |value: &dyn Fn(&str) -> String| {
            let all = (0..ROWS).map(|a| value(&local(a)));
            format!("vec4<f32>({})", all.collect::<Vec<_>>().join(", "))
        };
        out.line(format_args!("let delta = {};", of(&|i| self.delta(i))));
        out.line(format_args!(
            "let log_sum = {};",
            of(&|i| format!("meeting[{i}].y"))
        ));
        self.declare_sums(out, "dq", q.chunks);
        let end = self.end();
        self.walk(out, "0u", &end, |out| {
            self.product(out, "s", q, k);
            self.product(out, "dp", dy, v);
            for n in 0..self.cols() {
                self.score(out, n, Self::query_left);
                let j = self.column(n);
                let parts = ["x", "y", "z", "w"].map(|p| format!("weight(s{n}.{p}, log_sum.{p})"));
                out.line(format_args!("let p{n} = vec4<f32>({});", parts.join(", ")));
                if pass.drops() {
                    let kept = Self::rows(|i| format!("kept(b, h, {i}, {j})"));
                    out.line(format_args!("dp{n} *= {kept};"));
                }
                let scale = pass.kernel.op.scale as f32;
                let ds = format!("p{n} * (dp{n} - delta) * {scale:?}f");
                self.put(out, n, &ds);
            }
            self.accumulate(out, "dq", k);
        });
        self.store_sums(out, "dq", "h", q.chunks, "");
    }

    fn backward_keys(&self, out: &mut Writer) {
        let pass = self.pass;
        self.place(out, "number", pass.groups, "g");
        let (q, k, v) = self.sides();
        let dy = Side {
            name: "dy",
            head: "h",
            ..v
        };
        let [_, dk, dv] = pass.wanted();
        for (wanted, name, chunks) in [(dk, "dk", k.chunks), (dv, "dv", v.chunks)] {
            if wanted {
                self.declare_sums(out, name, chunks);
            }
        }
        let start = match pass.kernel.op.causal {
            true => "left",
            false => "0u",
        };
        let (end, shared) = (format!("{}u", self.right), pass.shared);
        out.block(
            format_args!("for (var r = 0u; r < {shared}u; r++)"),
            |out| {
                out.line(format_args!("let h = g * {shared}u + r;"));
                self.walk(out, start, &end, |out| {
                    self.deltas(out, "right", dy.chunks);
                    for n in 0..self.cols() {
                        let i = format!("(x + {}u)", n * self.across);
                        out.line(format_args!("let delta{n} = {};", self.delta(&i)));
                        out.line(format_args!("let log_sum{n} = meeting[{i}].y;"));
                    }
                    self.product(out, "s", k, q);
                    if dk {
                        self.product(out, "dp", v, dy);
                    }
                    for n in 0..self.cols() {
                        self.score(out, n, Self::query_right);
                        let i = self.column(n);
                        let weights =
                            ["x", "y", "z", "w"].map(|p| format!("weight(s{n}.{p}, log_sum{n})"));
                        out.line(format_args!(
                            "let p{n} = vec4<f32>({});",
                            weights.join(", ")
                        ));
                        let mut kept_weights = format!("p{n}");
                        if pass.drops() {
                            let kept = Self::rows(|j| format!("kept(b, h, {i}, {j})"));
                            out.line(format_args!("let z{n} = {kept};"));
                            if dk {
                                out.line(format_args!("dp{n} *= z{n};"));
                            }
                            kept_weights = format!("p{n} * z{n}");
                        }
                        if dk {
                            let scale = pass.kernel.op.scale as f32;
                            out.line(format_args!(
                                "let ds{n} = p{n} * (dp{n} - delta{n}) * {scale:?}f;"
                            ));
                        }
                        if dv {
                            self.put(out, n, &kept_weights);
                        }
                    }
                    if dv {
                        self.accumulate(out, "dv", dy);
                    }
                    if dk {
                        // One tile of weights after the other, so that more workgroups fit.
                        out.line("workgroupBarrier();");
                        for n in 0..self.cols() {
                            self.put(out, n, &format!("ds{n}"));
                        }
                        self.accumulate(out, "dk", q);
                    }
                });
            },
        );
        for (wanted, name, chunks) in [(dk, "dk", k.chunks), (dv, "dv", v.chunks)] {
            if wanted {
                self.store_sums(out, name, "g", chunks, "");
            }
        }
    }
}
