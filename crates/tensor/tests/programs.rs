//! Every variant of fused programs against an interpreter in f64, on whatever device there is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/interpret.rs"]
mod interpret;
#[path = "support/kernels.rs"]
mod kernels;
#[path = "support/samples/mod.rs"]
mod samples;
mod support;

use anyhow::{Context, ensure};
use gradus_graph::Scalar;
use gradus_graph::plan::{KernelKind, Role};
use gradus_tensor::Device;
use gradus_tensor::kernels::{shader, variants};
use interpret::{Interpreter, float};
use kernels::Ready;
use samples::Sample;

fn check(device: &Device, sample: &Sample) -> anyhow::Result<()> {
    let Sample {
        program, memory, ..
    } = sample;
    let sites = memory.iter().position(|m| m.role == Role::Errors);
    let mut interpreter = Interpreter {
        program,
        memory,
        step_row: &sample.step_row,
        errors: sites.map_or(Vec::new(), |i| memory[i].words.clone()),
        accumulator: None,
    };
    let want = interpreter.run();
    let errors = interpreter.errors;
    let kind = KernelKind::Program(program.clone());
    let (plan, kernel) = kernels::plan(device.target(), kind, memory);
    for (number, variant) in variants(&plan, &kernel).into_iter().enumerate() {
        let shader = shader(&plan, &kernel, variant)?;
        let failed = || format!("{variant:?}\n{}", shader.wgsl);
        let trusted = number % 2 == 1;
        let ready =
            Ready::new(device, &shader, memory, &sample.step_row, trusted).with_context(failed)?;
        let mut before = None;
        for _ in 0..2 {
            for (i, m) in memory.iter().enumerate().filter(|(_, m)| m.writes) {
                ready.reset(i, m)?;
            }
            ready.run(1)?;
            let mut after = Vec::new();
            for (operand, m) in memory.iter().enumerate().filter(|(_, m)| m.writes) {
                let got = ready.read(operand)?;
                compare(operand, sample, &got, &want[operand]).with_context(failed)?;
                for (i, (old, new)) in m.words.iter().zip(&got).enumerate() {
                    let touched = i >= m.base && want[operand].contains_key(&(i - m.base));
                    ensure!(
                        touched || old == new,
                        "{}: operand {operand} word {i} must not be written",
                        failed()
                    );
                }
                after.push(got);
            }
            if let Some(sites) = sites {
                ensure!(ready.read(sites)?[..errors.len()] == errors, "error words");
            }
            ensure!(
                before.is_none_or(|b| b == after),
                "{}: the second run gives other bits",
                failed()
            );
            before = Some(after);
        }
    }
    Ok(())
}

fn compare(
    operand: usize,
    sample: &Sample,
    got: &[u32],
    want: &std::collections::HashMap<usize, Scalar>,
) -> anyhow::Result<()> {
    let finite = want.values().map(|v| float(*v).abs());
    let largest = finite.filter(|v| v.is_finite()).fold(0f64, f64::max);
    let terms = sample.program.cols().max(1) as f64;
    let tolerance = sample.tolerance * f64::from(f32::EPSILON) * terms.sqrt() * largest;
    for (i, want) in want {
        let word = got[sample.memory[operand].base + i];
        let same = match want {
            Scalar::F32(v) if v.is_nan() => f32::from_bits(word).is_nan(),
            Scalar::F32(v) => {
                (f64::from(f32::from_bits(word)) - v.clamp(-3.4028235e38, 3.4028235e38)).abs()
                    <= tolerance
            }
            other => word == other.to_bits(),
        };
        ensure!(
            same,
            "operand {operand} element {i} is {word:#x} = {}, should be {want:?} ± {tolerance:e}",
            f32::from_bits(word)
        );
    }
    Ok(())
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let gpu = support::Gpu::from_env();
    let trials = samples::all().into_iter().map(|sample| {
        let name = sample.name.clone();
        gpu.trial(&name, move |device| check(&device, &sample))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
