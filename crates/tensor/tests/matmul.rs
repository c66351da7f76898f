//! Every matmul variant against a plain sum in f64, on whatever Vulkan device there is.
//!
//! `GRADUS_TEST_GPU=auto` (the default) uses any adapter and shows the tests as ignored without
//! one; `required` fails then; `off` ignores them.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/gpu.rs"]
mod gpu;

use gradus_graph::philox::Rng;
use gradus_tensor::kernels::DeviceClass;
use gradus_tensor::kernels::matmul::{Matmul, Operand, Store, Variant, variants};
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::Arc;

/// What to multiply: layout, batch, M, N, K, and which operand is broadcast over the batch.
#[derive(Clone, Copy, Debug)]
struct Case {
    layout: &'static str,
    batch: u32,
    size: [u32; 3],
    broadcast: [bool; 2],
    /// Elements before the first matrix and between rows: 0 keeps everything aligned.
    slack: u32,
}

const LAYOUTS: [&str; 4] = ["nn", "nt", "tn", "tt"];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = [
        [1, 1, 1],
        [7, 17, 1],
        [1, 257, 17],
        [257, 1, 7],
        [17, 7, 257],
        [64, 128, 96],
        [68, 132, 30],
        [10, 64, 64],
        [64, 10, 128],
        [20, 12, 0],
    ];
    for layout in LAYOUTS {
        for size in sizes {
            for slack in [0, 3] {
                cases.push(Case {
                    layout,
                    batch: 1,
                    size,
                    broadcast: [false; 2],
                    slack,
                });
            }
        }
        for broadcast in [[false, false], [true, false], [false, true]] {
            cases.push(Case {
                layout,
                batch: 3,
                size: [17, 36, 20],
                broadcast,
                slack: 0,
            });
        }
    }
    for (layout, batch, size) in [
        ("nt", 1, [257, 1000, 257]),
        ("nn", 1, [70_000, 3, 5]),
        ("tn", 70_000, [2, 2, 3]),
        ("nn", 1, [5, 9, 70_000]),
        ("tn", 1, [16, 8, 300_000]),
    ] {
        cases.push(Case {
            layout,
            batch,
            size,
            broadcast: [false; 2],
            slack: 0,
        });
    }
    cases
}

/// An operand of `rows` × `cols` in memory and its values.
fn operand(case: &Case, which: usize, rng: &mut Rng) -> (Operand, Vec<f32>) {
    let [m, n, k] = case.size;
    let transposed = case.layout.as_bytes()[which] == b't';
    let (mut rows, mut cols) = if which == 0 { (m, k) } else { (k, n) };
    if transposed {
        std::mem::swap(&mut rows, &mut cols);
    }
    let row_stride = cols + case.slack;
    let matrix = rows * row_stride;
    let copies = if case.broadcast[which] { 1 } else { case.batch };
    let operand = Operand {
        buffer: which,
        offset: case.slack,
        transposed,
        row_stride,
        batch_stride: if case.broadcast[which] { 0 } else { matrix },
    };
    let values = (0..case.slack + copies * matrix)
        .map(|_| (rng.uniform() * 2.0 - 1.0) as f32)
        .collect();
    (operand, values)
}

fn get(operand: &Operand, values: &[f32], batch: u32, row: u32, col: u32) -> f64 {
    let (r, c) = if operand.transposed {
        (col, row)
    } else {
        (row, col)
    };
    let at = operand.offset + batch * operand.batch_stride + r * operand.row_stride + c;
    f64::from(values[at as usize])
}

/// The product and the row sums of A.
fn reference(matmul: &Matmul, a: &[f32], b: &[f32]) -> [Vec<f64>; 2] {
    let (mut product, mut sums) = (Vec::new(), Vec::new());
    for batch in 0..matmul.batch {
        for row in 0..matmul.m {
            let lhs: Vec<_> = (0..matmul.k)
                .map(|k| get(&matmul.a, a, batch, row, k))
                .collect();
            sums.push(lhs.iter().sum());
            for col in 0..matmul.n {
                let term = |(k, x)| x * get(&matmul.b, b, batch, k, col);
                product.push((0u32..).zip(&lhs).map(term).sum());
            }
        }
    }
    [product, sums]
}

fn compare(what: &str, got: &[u32], want: &[f64], terms: u32) -> Result<(), String> {
    let largest = want.iter().fold(0f64, |m, v| m.max(v.abs()));
    let tolerance =
        4.0 * f64::from(f32::EPSILON) * f64::from(terms.max(1)).sqrt() * largest.max(1e-30);
    for (i, want) in want.iter().enumerate() {
        let got = f32::from_bits(got[i]);
        let error = (f64::from(got) - want).abs();
        if error.is_nan() || error > tolerance {
            return Err(format!(
                "{what}[{i}] is {got}, should be {want} ± {tolerance:e}"
            ));
        }
    }
    Ok(())
}

fn check(gpu: &gpu::Gpu, case: &Case) -> Result<(), Failed> {
    let [m, n, k] = case.size;
    let mut rng = Rng::new(7, u64::from(m * 31 + n * 7 + k));
    let (a, a_values) = operand(case, 0, &mut rng);
    let (b, b_values) = operand(case, 1, &mut rng);
    let mut matmul = Matmul {
        batch: case.batch,
        m,
        n,
        k,
        a,
        b,
        row_sum: true,
    };
    let [product, sums] = reference(&matmul, &a_values, &b_values);
    let mut all: Vec<Variant> = [DeviceClass::Software, DeviceClass::Gpu]
        .into_iter()
        .flat_map(|class| variants(&matmul, class))
        .collect();
    let mut seen = std::collections::HashSet::new();
    all.retain(|v| seen.insert(*v));
    for variant in all {
        for row_sum in [true, false] {
            matmul.row_sum = row_sum;
            let store = Store {
                buffer: 2,
                offset: case.slack,
                m,
                n,
                sum: row_sum.then_some((3, 0)),
            };
            let nan = |n: u32| vec![0x7fc0_0000; n as usize];
            let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let buffers = [
                gpu.buffer(&bits(&a_values)),
                gpu.buffer(&bits(&b_values)),
                gpu.buffer(&nan(case.slack + case.batch * m * n)),
                gpu.buffer(&nan(case.batch * m)),
            ];
            let shader = matmul.shader(variant, &store);
            // Half of the runs keep the checks, which would hide an index out of bounds.
            let ready = gpu.prepare(&shader, &buffers, None, row_sum)?;
            let mut before = None;
            for _ in 0..2 {
                gpu.run(&ready, 1);
                let c = gpu.read(&buffers[2]);
                let failed = |e| format!("{variant:?}: {e}");
                compare("c", &c[case.slack as usize..], &product, k).map_err(failed)?;
                if row_sum {
                    compare("sum", &gpu.read(&buffers[3]), &sums, k).map_err(failed)?;
                }
                if before.is_some_and(|b| b != c) {
                    return Err(format!("{variant:?}: the second run gives other bits").into());
                }
                before = Some(c);
            }
        }
    }
    Ok(())
}

fn main() {
    let mut arguments = Arguments::from_args();
    // One device, and software devices use all cores by themselves.
    arguments.test_threads.get_or_insert(2);
    let mode = std::env::var("GRADUS_TEST_GPU").unwrap_or_else(|_| "auto".into());
    let gpu = (mode != "off").then(gpu::Gpu::any).flatten().map(Arc::new);
    match &gpu {
        Some(gpu) => eprintln!("adapter: {}", gpu.name),
        None if mode == "required" => {
            eprintln!("GRADUS_TEST_GPU=required, but there is no adapter");
            std::process::exit(1);
        }
        None => eprintln!("no adapter: every test is ignored"),
    }
    let trials = cases().into_iter().map(|case| {
        let [m, n, k] = case.size;
        let name = format!(
            "{} batch {} {:?} {m}x{n}x{k} slack {}",
            case.layout, case.batch, case.broadcast, case.slack
        );
        let gpu = gpu.clone();
        let ignored = gpu.is_none();
        Trial::test(name, move || gpu.map_or(Ok(()), |gpu| check(&gpu, &case)))
            .with_ignored_flag(ignored)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
