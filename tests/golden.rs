//! The oracle, the executor and the GPU against values stored from an independent framework: a reference
//! can be wrong in the same way as what it judges.

use libtest_mimic::{Arguments, Trial};
use support::evaluator::{Evaluator, Oracle32, Oracle64};
use support::gpu::Gpu;
use support::{golden, planned};

mod support;

fn main() {
    let gpu = Gpu::from_env();
    let mut trials = Vec::new();
    for i in 0..golden::cases().len() {
        let name = format!("{}/gpu", golden::cases()[i].name);
        trials.push(gpu.trial(name, move |device| {
            Ok(golden::cases().swap_remove(i).check(&planned::on(device))?)
        }));
    }
    for training in golden::trainings() {
        let name = format!("{}/gpu", training.name);
        trials.push(gpu.trial(name, move |device| {
            let planned = planned::on(device);
            Ok(training.check(&planned.train(&training)?, &planned)?)
        }));
    }
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
