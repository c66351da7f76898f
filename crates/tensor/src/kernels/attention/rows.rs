//! One invocation for each query, or each key: the family for software devices.
//!
//! Neighbouring invocations are neighbouring positions of one head, so that what they loop over is
//! the same for all of them.

use super::super::Writer;
use super::super::module::Entry;
use super::{LOWEST, Pass};
use crate::kernels::ShaderError;

const INVOCATIONS: u32 = 64;

/// Keys that a query takes at once toward the result: sums then go through registers, or memory where
/// there are too few of them, less often.
const KEYS: u32 = 4;
/// The same for gradients, and queries that a key takes.
const QUERIES: u32 = 2;
/// Groups of four in a row beyond which each takes one at a time: the text would grow too long for
/// compilers.
const WIDE: u32 = 16;

/// Positions that a vector of a software device holds.
const VECTOR: u32 = 8;

pub(super) fn entry(pass: &Pass<'_>) -> Result<Entry, ShaderError> {
    let queries = pass.batch * pass.heads * pass.queries;
    let keys = pass.batch * pass.groups * pass.keys;
    let mut out = Writer::new();
    let [dq, dk, dv] = pass.wanted();
    let groups = if !(dq || dk || dv) {
        out.line(format_args!("let id = index * {INVOCATIONS}u + lane;"));
        out.line(format_args!("if id >= {queries}u {{ return; }}"));
        forward(&mut out, pass);
        queries.div_ceil(INVOCATIONS)
    } else {
        let first = if dq { queries.div_ceil(INVOCATIONS) } else { 0 };
        if dq {
            out.block(format_args!("if index < {first}u"), |out| {
                out.line(format_args!("let id = index * {INVOCATIONS}u + lane;"));
                out.line(format_args!("if id >= {queries}u {{ return; }}"));
                backward_queries(out, pass);
            });
        }
        if dk || dv {
            out.block(format_args!("if index >= {first}u"), |out| {
                out.line(format_args!(
                    "let id = (index - {first}u) * {INVOCATIONS}u + lane;"
                ));
                out.line(format_args!("if id >= {keys}u {{ return; }}"));
                backward_keys(out, pass);
            });
        }
        first
            + if dk || dv {
                keys.div_ceil(INVOCATIONS)
            } else {
                0
            }
    };
    Ok(Entry {
        name: "attention",
        invocations: [INVOCATIONS, 1],
        groups,
        workgroup_memory: 0,
        functions: pass.functions.clone(),
        body: out.finish(),
    })
}

/// Names of `count` vectors that begin with `prefix`, declared with what `value` gives for each.
fn declare(
    out: &mut Writer,
    keyword: &str,
    prefix: &str,
    count: u32,
    value: impl Fn(u32) -> String,
) {
    for c in 0..count {
        out.line(format_args!("{keyword} {prefix}{c} = {};", value(c)));
    }
}

fn dot(a: &str, b: &str, count: u32) -> String {
    let terms: Vec<String> = (0..count).map(|c| format!("dot({a}{c}, {b}{c})")).collect();
    terms.join(" + ")
}

/// `i`, `h`, `b` and `g` of the query with the number `id`.
fn query(out: &mut Writer, pass: &Pass<'_>) {
    let (queries, heads, shared) = (pass.queries, pass.heads, pass.shared);
    out.line(format_args!("let i = id % {queries}u;"));
    out.line(format_args!("let h = id / {queries}u % {heads}u;"));
    out.line(format_args!("let b = id / {}u;", queries * heads));
    out.line(format_args!("let g = h / {shared}u;"));
    let end = match pass.kernel.op.causal {
        true => format!("min({}u, i + 1u)", pass.keys),
        false => format!("{}u", pass.keys),
    };
    out.line(format_args!("let end = {end};"));
}

/// So many at once, if rows are not wide.
fn at_once(pass: &Pass<'_>, count: u32) -> u32 {
    if pass.width.max(pass.value_width) > WIDE {
        1
    } else {
        count
    }
}

fn forward(out: &mut Writer, pass: &Pass<'_>) {
    query(out, pass);
    let (d, e) = (pass.width, pass.value_width);
    let count = at_once(pass, KEYS);
    declare(out, "let", "q", d, |c| format!("load_q(b, i, h, {c}u)"));
    declare(out, "var", "y", e, |_| "vec4<f32>()".into());
    out.line(format_args!("var most = {LOWEST};"));
    out.line("var sum = 0.0;");
    out.block(
        format_args!("for (var j = 0u; j < end; j += {count}u)"),
        |out| {
            for u in 0..count {
                declare(out, "let", &format!("k{u}_"), d, |c| {
                    format!("load_k(b, j + {u}u, g, {c}u)")
                });
                let product = dot("q", &format!("k{u}_"), d);
                out.line(format_args!(
                    "let s{u} = score({product}, b, h, i, j + {u}u);"
                ));
            }
            let all: Vec<String> = (0..count).map(|u| format!("s{u}")).collect();
            let top = all
                .iter()
                .fold("most".to_owned(), |a, s| format!("max({a}, {s})"));
            out.line(format_args!("let top = {top};"));
            out.line("let fade = exp(most - top);");
            out.line("most = top;");
            for u in 0..count {
                out.line(format_args!("let e{u} = weight(s{u}, top);"));
            }
            let all: Vec<String> = (0..count).map(|u| format!("e{u}")).collect();
            out.line(format_args!("sum = sum * fade + ({});", all.join(" + ")));
            for u in 0..count {
                let kept = match pass.drops() {
                    true => format!(" * kept(b, h, i, j + {u}u)"),
                    false => String::new(),
                };
                out.line(format_args!("let p{u} = e{u}{kept};"));
            }
            for c in 0..e {
                let value = |u: u32| format!("p{u} * load_v(b, j + {u}u, g, {c}u)");
                let terms: Vec<String> = (0..count).map(value).collect();
                out.line(format_args!(
                    "y{c} = y{c} * fade + ({});",
                    terms.join(" + ")
                ));
            }
        },
    );
    out.line("let some = sum > 0.0;");
    out.line("let share = select(0.0, 1.0 / sum, some);");
    for c in 0..e {
        out.line(format_args!("store_y(b, i, h, {c}u, y{c} * share);"));
    }
    if pass.writes_sums() {
        out.line("store_sum(b, h, i, select(0.0, most + log(sum), some));");
    }
}

/// The names `p` and `ds` of one weight, from `s` and `dp`.
fn gradient(out: &mut Writer, pass: &Pass<'_>, u: u32, at: &str) {
    let scale = pass.kernel.op.scale as f32;
    let dp = match pass.drops() {
        true => {
            out.line(format_args!("let z{u} = kept(b, h, {at});"));
            format!("z{u} * dp{u}")
        }
        false => format!("dp{u}"),
    };
    out.line(format_args!(
        "let ds{u} = p{u} * ({dp} - delta{u}) * {scale:?}f;"
    ));
}

fn backward_queries(out: &mut Writer, pass: &Pass<'_>) {
    query(out, pass);
    let (d, e) = (pass.width, pass.value_width);
    let count = at_once(pass, QUERIES);
    declare(out, "let", "q", d, |c| format!("load_q(b, i, h, {c}u)"));
    declare(out, "let", "dy", e, |c| format!("load_dy(b, i, h, {c}u)"));
    declare(out, "var", "dq", d, |_| "vec4<f32>()".into());
    out.line("let log_sum = load_sum(b, h, i);");
    let terms = (0..e).map(|c| format!("dot(dy{c}, load_y(b, i, h, {c}u))"));
    let delta = terms.collect::<Vec<_>>().join(" + ");
    out.line(format_args!("let delta = {delta};"));
    out.block(
        format_args!("for (var j = 0u; j < end; j += {count}u)"),
        |out| {
            for u in 0..count {
                declare(out, "let", &format!("k{u}_"), d, |c| {
                    format!("load_k(b, j + {u}u, g, {c}u)")
                });
                let product = dot("q", &format!("k{u}_"), d);
                out.line(format_args!(
                    "let s{u} = score({product}, b, h, i, j + {u}u);"
                ));
                out.line(format_args!("let p{u} = weight(s{u}, log_sum);"));
                let terms = (0..e).map(|c| format!("dot(dy{c}, load_v(b, j + {u}u, g, {c}u))"));
                let dp = terms.collect::<Vec<_>>().join(" + ");
                out.line(format_args!("let dp{u} = {dp};"));
                out.line(format_args!("let delta{u} = delta;"));
                gradient(out, pass, u, &format!("i, j + {u}u"));
            }
            for c in 0..d {
                let terms: Vec<String> = (0..count).map(|u| format!("ds{u} * k{u}_{c}")).collect();
                out.line(format_args!("dq{c} += {};", terms.join(" + ")));
            }
        },
    );
    for c in 0..d {
        out.line(format_args!("store_dq(b, i, h, {c}u, dq{c});"));
    }
}

fn backward_keys(out: &mut Writer, pass: &Pass<'_>) {
    let (keys, groups, shared) = (pass.keys, pass.groups, pass.shared);
    let (d, e) = (pass.width, pass.value_width);
    let count = at_once(pass, QUERIES);
    let [_, dk, dv] = pass.wanted();
    out.line(format_args!("let j = id % {keys}u;"));
    out.line(format_args!("let g = id / {keys}u % {groups}u;"));
    out.line(format_args!("let b = id / {}u;", keys * groups));
    declare(out, "let", "k", d, |c| format!("load_k(b, j, g, {c}u)"));
    declare(out, "let", "v", e, |c| format!("load_v(b, j, g, {c}u)"));
    declare(out, "var", "dk", d, |_| "vec4<f32>()".into());
    declare(out, "var", "dv", e, |_| "vec4<f32>()".into());
    let start = match pass.kernel.op.causal {
        // The same for all that a vector holds: it reads one query then, not one for each.
        true => format!("j / {VECTOR}u * {VECTOR}u"),
        false => "0u".into(),
    };
    out.block(
        format_args!("for (var r = 0u; r < {shared}u; r++)"),
        |out| {
            out.line(format_args!("let h = g * {shared}u + r;"));
            let queries = pass.queries;
            let head = format!("for (var i = {start}; i < {queries}u; i += {count}u)");
            out.block(head, |out| {
                for u in 0..count {
                    let names = ["q", "dy"].map(|n| format!("{n}{u}_"));
                    let [q, dy] = &names;
                    declare(out, "let", q, d, |c| {
                        format!("load_q(b, i + {u}u, h, {c}u)")
                    });
                    declare(out, "let", dy, e, |c| {
                        format!("load_dy(b, i + {u}u, h, {c}u)")
                    });
                    let product = dot(q, "k", d);
                    out.line(format_args!(
                        "let s{u} = score({product}, b, h, i + {u}u, j);"
                    ));
                    out.line(format_args!(
                        "let p{u} = weight(s{u}, load_sum(b, h, i + {u}u));"
                    ));
                    let terms =
                        (0..e).map(|c| format!("dot({dy}{c}, load_y(b, i + {u}u, h, {c}u))"));
                    let delta = terms.collect::<Vec<_>>().join(" + ");
                    out.line(format_args!("let delta{u} = {delta};"));
                    out.line(format_args!("let dp{u} = {};", dot(dy, "v", e)));
                    gradient(out, pass, u, &format!("i + {u}u, j"));
                }
                if dk {
                    for c in 0..d {
                        let term = |u: u32| format!("ds{u} * q{u}_{c}");
                        let terms: Vec<String> = (0..count).map(term).collect();
                        out.line(format_args!("dk{c} += {};", terms.join(" + ")));
                    }
                }
                if dv {
                    for c in 0..e {
                        let kept = |u: u32| match pass.drops() {
                            true => format!(" * z{u}"),
                            false => String::new(),
                        };
                        let term = |u: u32| format!("p{u}{} * dy{u}_{c}", kept(u));
                        let terms: Vec<String> = (0..count).map(term).collect();
                        out.line(format_args!("dv{c} += {};", terms.join(" + ")));
                    }
                }
            });
        },
    );
    for (wanted, name, chunks) in [(dk, "dk", d), (dv, "dv", e)] {
        for c in (0..chunks).filter(|_| wanted) {
            out.line(format_args!("store_{name}(b, j, g, {c}u, {name}{c});"));
        }
    }
}
