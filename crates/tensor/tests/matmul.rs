//! Every matmul variant against a plain sum in f64, on whatever device there is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/interpret.rs"]
mod interpret;
#[path = "support/kernels.rs"]
mod kernels;
#[path = "support/products.rs"]
mod products;
mod support;

use anyhow::{Context, ensure};
use gradus_graph::plan::KernelKind;
use gradus_tensor::Device;
use gradus_tensor::kernels::{Variant, matmul, shader};
use interpret::{Interpreter, float};
use kernels::Ready;
use products::{Case, floats, reference};

fn compare(what: &str, got: &[u32], want: &[f64], terms: usize) -> anyhow::Result<()> {
    let largest = want.iter().fold(0f64, |m, v| m.max(v.abs()));
    let tolerance =
        4.0 * f64::from(f32::EPSILON) * (terms.max(1) as f64).sqrt() * largest.max(1e-30);
    for (i, want) in want.iter().enumerate() {
        let got = f32::from_bits(got[i]);
        let error = (f64::from(got) - want).abs();
        ensure!(
            error <= tolerance,
            "{what}[{i}] is {got}, should be {want} ± {tolerance:e}"
        );
    }
    Ok(())
}

/// What each written operand should hold, from its base on.
fn expected(
    case: &Case,
    kernel: &gradus_graph::plan::MatMulKernel,
    memory: &[kernels::Memory],
    step_row: &[u32; 64],
) -> Vec<(usize, Vec<f64>)> {
    let [product, sums] = reference(kernel, &floats(&memory[0]), &floats(&memory[1]));
    let mut interpreter = Interpreter {
        program: &kernel.epilogue,
        memory,
        step_row,
        errors: Vec::new(),
        accumulator: Some(&product),
    };
    let mut want = if case.epilogue {
        let written = interpreter.run();
        let all = [2, 5].map(|operand| {
            let values = (0..product.len()).map(|i| float(written[operand][&i]));
            (operand, values.collect())
        });
        all.to_vec()
    } else {
        vec![(2, product)]
    };
    if kernel.row_sum.is_some() {
        want.push((3, sums));
    }
    want
}

/// Checks a case in all its variants.
fn check(device: &Device, case: &Case) -> anyhow::Result<()> {
    let (mut kernel, memory) = products::kernel(case);
    let mut step_row = [0; 64];
    step_row[..3].copy_from_slice(&[3, 1, 4]);
    let want = expected(case, &kernel, &memory, &step_row);
    let target = device.target();
    let all = matmul::variants((&kernel).into(), &target);
    for (i, variant) in all.into_iter().enumerate() {
        // Every other variant without the row sum, and without the checks that might hide an
        // index out of bounds.
        let odd = i % 2 == 1;
        if odd {
            kernel.row_sum = None;
        }
        let kind = KernelKind::MatMul(kernel.clone());
        let (plan, one) = kernels::plan(target.clone(), kind, &memory);
        let shader = shader(&plan, &one, Variant::Matmul(variant))?;
        let ready = Ready::new(device, &shader, &memory, &step_row, odd)?;
        let mut before = None;
        for _ in 0..2 {
            for (i, m) in memory.iter().enumerate().filter(|(_, m)| m.writes) {
                ready.reset(i, m)?;
            }
            ready.run(1)?;
            let mut after = Vec::new();
            for (operand, want) in &want {
                if *operand == 3 && kernel.row_sum.is_none() {
                    continue;
                }
                let got = ready.read(*operand)?;
                let name = format!("operand {operand}");
                compare(&name, &got[memory[*operand].base..], want, kernel.k)
                    .with_context(|| format!("{variant:?}\n{}", shader.wgsl))?;
                after.push(got);
            }
            ensure!(
                before.is_none_or(|b| b == after),
                "{variant:?}: the second run gives other bits"
            );
            before = Some(after);
        }
    }
    Ok(())
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let gpu = support::Gpu::from_env();
    let cases = products::cases().into_iter();
    let trials =
        cases.map(|case| gpu.trial(&case.to_string(), move |device| check(&device, &case)));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
