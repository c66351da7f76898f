//! The op table: for each row its shape, its gradient and its parity with the oracle on every
//! executor; one bad input for each op; and every op has a row.

use std::collections::BTreeSet;

use gradus_graph::ops::{Binary, Unary};
use libtest_mimic::{Arguments, Trial};
use support::gpu::Gpu;
use support::ops;

mod support;

fn main() {
    let gpu = Gpu::from_env();
    let mut trials = Vec::new();
    for number in 0..ops::rows().len() {
        // A row is made anew in its test: closures are not shared between threads.
        let made = move || ops::rows().swap_remove(number);
        let row = made();
        let name = row.name();
        trials.push(Trial::test(format!("{name}/shape"), move || {
            Ok(made().check_shape()?)
        }));
        trials.push(Trial::test(format!("{name}/plan"), move || {
            for evaluator in support::planned::interpreted() {
                made().check_parity(&evaluator)?;
            }
            Ok(())
        }));
        trials.push(Trial::test(format!("{name}/cpu"), move || {
            Ok(made().check_parity(&support::planned::executor())?)
        }));
        trials.push(gpu.trial(format!("{name}/gpu"), move |device| {
            Ok(made().check_parity(&support::planned::on(device))?)
        }));
        #[cfg(feature = "gpu")]
        trials.push(gpu.trial(format!("{name}/variants"), move |device| {
            Ok(support::forced::variants_of_row(
                number,
                device,
                |forced| made().check_parity(forced),
            )?)
        }));
        if row.has_gradient() {
            trials.push(Trial::test(format!("{name}/grad"), move || {
                Ok(made().check_gradient()?)
            }));
        }
    }
    for (i, mistake) in ops::mistakes().into_iter().enumerate() {
        trials.push(Trial::test(
            format!("mistakes/{i}/{}", mistake.op),
            move || Ok(mistake.check()?),
        ));
    }
    trials.push(Trial::test("every op has a row", every_op_has_a_row));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn every_op_has_a_row() -> Result<(), libtest_mimic::Failed> {
    let have: BTreeSet<&str> = ops::rows().iter().map(|r| r.op).collect();
    let others = [
        "const",
        "literal",
        "iota",
        "random",
        "step_word",
        "select",
        "cast",
        "check_index",
        "reshape",
        "expand",
        "permute",
        "slice",
        "flip",
        "pad",
        "concat",
        "slide",
        "sum",
        "prod",
        "max",
        "min",
        "argmax",
        "argmin",
        "cumsum",
        "cumprod",
        "cummax",
        "linear_scan",
        "argsort",
        "matmul",
        "conv",
        "conv_input",
        "conv_weight",
        "gather",
        "scatter_add",
        "slice_update",
        "stop_gradient",
        "softmax",
        "log_softmax",
        "cross_entropy",
        "first_max",
        "batch_norm",
        "group_norm",
        "resample",
    ];
    let unary = Unary::ALL.iter().map(|op| op.name());
    let binary = Binary::ALL.iter().map(|op| op.name());
    let missing: Vec<&str> = unary
        .chain(binary)
        .chain(others)
        .filter(|op| !have.contains(op))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no row for {missing:?}").into())
    }
}
