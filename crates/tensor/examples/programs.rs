//! Times every variant of common fused programs, or with an argument of those whose name has it.
//!
//! Figures are milliseconds of process CPU time and of wall time for one dispatch, and GB/s of the
//! memory that its operands span. On lavapipe set `LP_NUM_THREADS=0`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measuring tool"
)]

#[path = "../tests/support/clock.rs"]
mod clock;
#[path = "../tests/support/kernels.rs"]
mod kernels;
#[path = "../tests/support/samples/mod.rs"]
mod samples;

use std::time::Instant;

use gradus_graph::Target;
use gradus_graph::plan::KernelKind;
use gradus_tensor::Device;
use gradus_tensor::kernels::{Variant, program, shader, variants};
use kernels::Ready;

fn main() -> anyhow::Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let device = Device::best().or_else(|_| Device::named("software"))?;
    println!("{}", device.info());
    let all = [
        samples::adam(1 << 20),
        samples::dropout(1 << 18),
        samples::cross_entropy(64, 10),
        samples::cross_entropy(512, 10),
        samples::cross_entropy(512, 1000),
        samples::softmax_in_place(4096, 1024),
        samples::layer_norm(512, 768),
        samples::layer_norm(8, 768),
        samples::column_sum(512, 768),
        samples::column_sum(64, 128),
        samples::column_sum(65_536, 16),
        samples::arg_max(512, 10),
        samples::sum_all(1 << 20),
        samples::sum_all(4096),
        samples::many_rows(70_000),
    ];
    for sample in all.iter().filter(|s| s.name.contains(&wanted)) {
        println!("{}", sample.name);
        let kind = KernelKind::Program(sample.program.clone());
        let target = Target::lavapipe();
        let chosen = program::choose(&program::simplified(&sample.program), target.class);
        let (plan, kernel) = kernels::plan(target, kind, &sample.memory);
        let mut all = vec![Variant::Program(chosen)];
        all.extend(variants(&plan, &kernel));
        for (i, variant) in all.into_iter().enumerate() {
            let shader = shader(&plan, &kernel, variant)?;
            let ready = Ready::new(&device, &shader, &sample.memory, &sample.step_row, true)?;
            let start = Instant::now();
            ready.run(1)?;
            let first = start.elapsed();
            let mut best = [f64::MAX; 2];
            for _ in 0..3 {
                let (cpu, wall) = (clock::cpu_seconds(), Instant::now());
                let mut runs = 0;
                while wall.elapsed().as_millis() < 150 {
                    ready.run(5)?;
                    runs += 5;
                }
                let times = [clock::cpu_seconds() - cpu, wall.elapsed().as_secs_f64()];
                for (best, time) in best.iter_mut().zip(times) {
                    *best = best.min(time / f64::from(runs));
                }
            }
            let words: usize = sample.memory.iter().map(|m| m.words.len()).sum();
            println!(
                "{:9.4} cpu-ms {:9.4} ms {:7.2} GB/s  first {:4} ms  {}{variant:?}",
                best[0] * 1e3,
                best[1] * 1e3,
                words as f64 * 4e-9 / best[0],
                first.as_millis(),
                if i == 0 { "* " } else { "" },
            );
        }
    }
    Ok(())
}
