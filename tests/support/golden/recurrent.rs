//! `05a`, `05c`: an LSTM and a GRU, from given states, with gradients of all that they give.

use gradus_graph::{Graph, Scope, Var, vjp};
use gradus_nn::{Cell, Recurrent, Unrolled};

use super::{Case, File};

pub(super) fn cases() -> Vec<Case> {
    let params = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];
    let layer = |name, cell, inputs: &[&str], outputs: &[&str], states: &[&str]| {
        let gradients = ["x"].iter().chain(states).chain(&params);
        let gradients = gradients.map(|name| format!("grad.{name}"));
        let outputs = outputs.iter().map(ToString::to_string);
        let wanted: Vec<String> = outputs.chain(gradients).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        Case::new(&File::open(name), "layer", inputs, &wanted, move |g, x| {
            unrolled(g, cell, x)
        })
    };
    vec![
        layer(
            "05a_lstm_1layer",
            Cell::Lstm,
            &["in.x", "in.h0", "in.gy", "in.ghn", "in.c0", "in.gcn"],
            &["out.y", "out.hn", "out.cn"],
            &["h0", "c0"],
        ),
        layer(
            "05c_gru_1layer",
            Cell::Gru,
            &["in.x", "in.h0", "in.gy", "in.ghn"],
            &["out.y", "out.hn"],
            &["h0"],
        ),
    ]
}

/// Results, then gradients of the input, the states and the parameters. Times come first.
fn unrolled<'g>(graph: &'g Graph, cell: Cell, x: &[Var<'g>]) -> Vec<Var<'g>> {
    let turn = |x: Var<'g>| x.permute(&[1, 0, 2]);
    let c0 = x.get(4).copied();
    let scope = Scope::root(graph, true);
    let Unrolled {
        output,
        hidden,
        cell,
    } = Recurrent::new(cell, 6).unroll(&scope, turn(x[0]), Some(x[1]), c0);
    let y = turn(output);
    let mut loss = (y * x[2]).sum_all() + (hidden * x[3]).sum_all();
    if let Some(cell) = cell {
        loss = loss + (cell * x[5]).sum_all();
    }
    let states = [Some(x[0]), Some(x[1]), c0].into_iter().flatten();
    let wrt: Vec<Var<'g>> = states.chain(graph.param_vars()).collect();
    let gradients = vjp(loss, graph.full((), 1.0), &wrt);
    let results = [Some(y), Some(hidden), cell].into_iter().flatten();
    results.chain(gradients.into_iter().flatten()).collect()
}
