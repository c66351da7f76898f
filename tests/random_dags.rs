//! Random graphs of ops: every evaluator agrees with the oracle.

use libtest_mimic::{Arguments, Trial};
use support::evaluator::Oracle32;
use support::gpu::Gpu;
use support::{planned, random_dag};

mod support;

/// Graphs compared in one test.
const SEEDS: u64 = 32;

fn main() {
    let gpu = Gpu::from_env();
    let mut trials = Vec::new();
    for part in 0..16 {
        let seeds = part * SEEDS..(part + 1) * SEEDS;
        let oracle = seeds.clone();
        trials.push(Trial::test(
            format!("oracle-f32/{}", seeds.start),
            move || Ok(random_dag::agree(&Oracle32, oracle)?),
        ));
        let device = seeds.clone();
        trials.push(gpu.trial(format!("gpu/{}", seeds.start), move |on| {
            Ok(random_dag::agree(&planned::on(on), device)?)
        }));
        let cpu = seeds.clone();
        trials.push(Trial::test(format!("cpu/{}", seeds.start), move || {
            Ok(random_dag::agree(&planned::executor(), cpu)?)
        }));
        let tight = seeds.clone();
        trials.push(Trial::test(format!("tight/{}", seeds.start), move || {
            Ok(random_dag::agree(&planned::tight(), tight)?)
        }));
        trials.push(Trial::test(format!("plan/{}", seeds.start), move || {
            for evaluator in planned::interpreted() {
                random_dag::agree(&evaluator, seeds.clone())?;
            }
            Ok(())
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
