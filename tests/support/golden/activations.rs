//! `03b`: elementwise functions and their derivatives, at kinks too.

use gradus_graph::Var;
use gradus_nn::Activate;

use super::{Case, File, with_gradients};

type Function = for<'g> fn(Var<'g>) -> Var<'g>;

pub(super) fn cases() -> Vec<Case> {
    let file = File::open("03b_activations");
    let real: &[(&str, Function)] = &[
        ("gelu", |x| x.gelu()),
        ("gelu_tanh", |x| x.gelu_tanh()),
        ("silu", |x| x.silu()),
        ("sigmoid", |x| x.sigmoid()),
        ("tanh", |x| x.tanh()),
        ("relu", |x| x.relu()),
        ("relu6", |x| clamp(x, 0.0, 6.0)),
        ("hardtanh", |x| clamp(x, -1.0, 1.0)),
        ("hardsigmoid", |x| clamp(x + 3.0, 0.0, 6.0) / 6.0),
        ("leaky_relu_0p01", |x| x.leaky_relu(0.01)),
        ("leaky_relu_0p2", |x| x.leaky_relu(0.2)),
        ("elu", |x| x.elu(1.0)),
        ("softplus", |x| x.softplus(1.0, 20.0)),
        ("softplus_b2_t5", |x| x.softplus(2.0, 5.0)),
        ("logsigmoid", |x| -(-x).softplus(1.0, 20.0)),
        ("mish", |x| x * x.softplus(1.0, 20.0).tanh()),
        ("softsign", |x| x / (x.abs() + 1.0)),
        ("tanhshrink", |x| x - x.tanh()),
        ("exp", |x| x.exp()),
        ("erf", |x| x.erf()),
        ("sin", |x| x.sin()),
        ("cos", |x| x.cos()),
    ];
    let positive: &[(&str, Function)] = &[
        ("log", |x| x.log()),
        ("sqrt", |x| x.sqrt()),
        ("rsqrt", |x| x.rsqrt()),
        ("reciprocal", |x| x.recip()),
        ("log1p", |x| x.log1p()),
        ("pow2p5", |x| x.pow(2.5)),
        ("pow_neg", |x| x.pow(-1.5)),
    ];
    let case = |inputs: [&str; 2], name: &str, f: Function| {
        let wanted = [format!("out.{name}"), format!("grad.{name}")];
        let wanted = wanted.each_ref().map(String::as_str);
        Case::new(&file, name, &inputs, &wanted, move |_, x| {
            with_gradients(f(x[0]), x[1], &x[..1])
        })
    };
    let real = real.iter().map(|&(n, f)| case(["in.x", "in.gy"], n, f));
    let positive = positive
        .iter()
        .map(|&(n, f)| case(["in.xpos", "in.gypos"], n, f));
    real.chain(positive).collect()
}

/// `x` within bounds; the derivative at a bound is 0.
fn clamp(x: Var<'_>, low: f64, high: f64) -> Var<'_> {
    let inside = x.gt(low).and(x.lt(high));
    inside.select(x, x.le(low).select(low, high))
}
