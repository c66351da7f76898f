//! The oracle against values stored from an independent framework: a reference can be wrong in
//! the same way as what it judges.

use libtest_mimic::{Arguments, Trial};
use support::evaluator::{Evaluator, Oracle32, Oracle64};
use support::golden;

#[path = "../../../tests/support/mod.rs"]
mod support;

fn main() {
    let mut trials = Vec::new();
    for case in golden::cases() {
        let name = case.name.clone();
        trials.push(Trial::test(name, move || {
            each(|evaluator| case.check(evaluator))?;
            Ok(())
        }));
    }
    for training in golden::trainings() {
        let name = training.name.clone();
        trials.push(Trial::test(name, move || {
            training.check(&training.by_oracle::<f64>()?, &Oracle64)?;
            training.check(&training.by_oracle::<f32>()?, &Oracle32)?;
            Ok(())
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn each(check: impl Fn(&dyn Evaluator) -> Result<(), String>) -> Result<(), String> {
    for evaluator in [&Oracle64 as &dyn Evaluator, &Oracle32] {
        check(evaluator).map_err(|e| format!("{}: {e}", evaluator.name()))?;
    }
    Ok(())
}
