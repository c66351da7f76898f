//! `02d`: batch normalization in two training steps and in evaluation.

use gradus_graph::{Graph, Layer, Scope, Var};
use gradus_nn::BatchNorm;

use super::{Case, File, with_gradients};

pub(super) fn cases() -> Vec<Case> {
    let file = File::open("02d_batchnorm2d");
    let both = |kind: &str| {
        let gradients = ["x", "weight", "bias"].map(|v| format!("grad.{kind}.{v}"));
        [vec![format!("out.{kind}.y")], gradients.to_vec()].concat()
    };
    let case = |part: &str, inputs: &[&str], wanted: &[String], build: Build| {
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        Case::new(&file, part, inputs, &wanted, build)
    };
    let after = |step: usize| {
        ["mean", "var"]
            .map(|v| format!("out.running_{v}_after{step}"))
            .to_vec()
    };
    let first = [both("train"), after(1)].concat();
    let mut cases = vec![
        case("train", &["in.x", "in.gy"], &first, |g, x| {
            let mut values = layer(g, true, x);
            values.extend(updates(g));
            values
        }),
        case("eval", &["in.x", "in.gy"], &both("eval"), |g, x| {
            layer(g, false, x)
        }),
        case("train twice", &["in.x2"], &after(2), |g, x| {
            BatchNorm::new().forward(&Scope::root(g, true), x[0]);
            updates(g)
        }),
        case(
            "eval after",
            &["in.x"],
            &["out.eval_after2.y".into()],
            |g, x| vec![BatchNorm::new().forward(&Scope::root(g, false), x[0])],
        ),
    ];
    // A layer that is applied twice in a step has seen both batches.
    cases.push(case(
        "both at once",
        &["in.x", "in.x2"],
        &after(2),
        |g, x| {
            let (layer, scope) = (BatchNorm::new(), Scope::root(g, true));
            layer.forward(&scope, x[0]);
            layer.forward(&scope, x[1]);
            updates(g)
        },
    ));
    cases[2].states = ["out.", "_after1"];
    cases[3].states = ["out.", "_after2"];
    cases
}

type Build = for<'g> fn(&'g Graph, &[Var<'g>]) -> Vec<Var<'g>>;

/// `y` and its gradients for the input, the weight and the bias.
fn layer<'g>(graph: &'g Graph, training: bool, x: &[Var<'g>]) -> Vec<Var<'g>> {
    let y = BatchNorm::new().forward(&Scope::root(graph, training), x[0]);
    let wrt = [&x[..1], &graph.param_vars()].concat();
    with_gradients(y, x[1], &wrt)
}

/// What the running mean and variance become.
fn updates(graph: &Graph) -> Vec<Var<'_>> {
    let updates = graph.updates().into_iter().take(2);
    updates.map(|(_, value)| graph.var(value)).collect()
}
