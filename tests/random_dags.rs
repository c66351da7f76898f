//! Random graphs of ops: every evaluator agrees with the oracle.

use libtest_mimic::{Arguments, Trial};
use support::evaluator::{Evaluator, Oracle32};
use support::random_dag;

mod support;

/// Graphs compared in one test.
const SEEDS: u64 = 32;

type Make = fn() -> Box<dyn Evaluator>;

fn main() {
    let evaluators: [(&str, Make); 1] = [("oracle-f32", || Box::new(Oracle32))];
    let mut trials = Vec::new();
    for (name, make) in evaluators {
        for part in 0..8 {
            let seeds = part * SEEDS..(part + 1) * SEEDS;
            let test = format!("{name}/{}", seeds.start);
            trials.push(Trial::test(test, move || {
                Ok(random_dag::agree(make().as_ref(), seeds)?)
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
