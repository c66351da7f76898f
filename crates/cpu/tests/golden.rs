//! The oracle and the executor against values stored from an independent framework: a reference
//! can be wrong in the same way as what it judges.

use libtest_mimic::{Arguments, Trial};
use support::evaluator::{Evaluator, Oracle32, Oracle64};
use support::{golden, planned};

#[path = "../../../tests/support/mod.rs"]
mod support;

fn main() {
    let mut trials = Vec::new();
    for case in golden::cases() {
        let name = case.name.clone();
        trials.push(Trial::test(name, move || {
            let executor = planned::executor();
            for evaluator in [&Oracle64 as &dyn Evaluator, &Oracle32, &executor] {
                let checked = case.check(evaluator);
                checked.map_err(|e| format!("{}: {e}", evaluator.name()))?;
            }
            Ok(())
        }));
    }
    for training in golden::trainings() {
        let name = training.name.clone();
        trials.push(Trial::test(name, move || {
            training.check(&training.by_oracle::<f64>()?, &Oracle64)?;
            training.check(&training.by_oracle::<f32>()?, &Oracle32)?;
            // What the planner makes of a training, and the executor of the plan.
            let executor = std::iter::once(planned::executor());
            for planned in planned::interpreted().into_iter().chain(executor) {
                let found = planned.train(&training)?;
                let checked = training.check(&found, &planned);
                checked.map_err(|e| format!("{}: {e}", planned.name))?;
            }
            Ok(())
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
