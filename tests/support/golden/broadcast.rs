//! `08a`: binary ops over pairs of shapes, scalars and empty ones included.

use gradus_graph::Var;

use super::{Case, File, with_gradients};

type Function = for<'g> fn(Var<'g>, Var<'g>) -> Var<'g>;

pub(super) fn cases() -> Vec<Case> {
    let file = File::open("08a_broadcast");
    let ops: &[(&str, Function)] = &[
        ("add", |a, b| a + b),
        ("sub", |a, b| a - b),
        ("mul", |a, b| a * b),
        ("div", |a, b| a / b),
        ("pow", |a, b| a.pow(b)),
        ("maximum", |a, b| a.maximum(b)),
        ("minimum", |a, b| a.minimum(b)),
    ];
    let mut cases = Vec::new();
    for pair in 0..13 {
        for &(name, f) in ops {
            let part = format!("{pair}.{name}");
            let inputs = ["a", "b", "gy"].map(|x| format!("in.{pair}.{x}"));
            let wanted = [
                format!("out.{part}"),
                format!("grad.{part}.a"),
                format!("grad.{part}.b"),
            ];
            let inputs = inputs.each_ref().map(String::as_str);
            let wanted = wanted.each_ref().map(String::as_str);
            cases.push(Case::new(&file, &part, &inputs, &wanted, move |_, x| {
                with_gradients(f(x[0], x[1]), x[2], &x[..2])
            }));
        }
    }
    cases
}
