//! A workgroup for 32 queries or keys: the family for GPUs.
//!
//! The rows that a workgroup owns are on the *left*; it walks over those on the *right*, 32 at a
//! time. Products of both become weights in registers, four rows by a few columns for each
//! invocation, which meet in workgroup memory; there they are multiplied with rows on the right,
//! into sums that stay in registers. Reading rows goes through one slice of workgroup memory.

use super::super::Writer;
use super::super::module::Entry;
use super::tile::{DOWN, Part, ROWS, SLICE, Side, TILE, WEIGHTS};
use super::{LOWEST, Pass};
use crate::kernels::ShaderError;

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
