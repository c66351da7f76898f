//! Square products: the plan of one matmul on every device, and the bare call that the executor
//! is built on.

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::product::Product;

const SIZES: [usize; 3] = [256, 512, 1024];

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for n in SIZES {
        let name = format!("matmul {n}");
        if wanted(&name) {
            let mut contestants = vec![bare(n)?];
            for device in devices {
                let on = || format!("matmul {n} on {}", machine::short_name(device));
                contestants.push(on_device(device, n).with_context(on)?);
            }
            let amount = 2.0 * (n * n * n) as f64 / 1e9;
            cases.push(Case {
                name,
                unit: "GFLOP/s",
                amount,
                contestants,
            });
        }
    }
    Ok(cases)
}

/// Two matrices with elements in [−1, 1).
fn factors(n: usize) -> [Vec<f32>; 2] {
    [1, 2].map(|stream| {
        let mut rng = Rng::new(0, stream);
        (0..n * n)
            .map(|_| (2.0 * rng.uniform() - 1.0) as f32)
            .collect()
    })
}

/// Compares some elements with sums in f64.
fn check(n: usize, [a, b]: &[Vec<f32>; 2], c: &[f32]) -> Result<()> {
    ensure!(c.len() == n * n, "{} elements, expected {}", c.len(), n * n);
    let mut rng = Rng::new(0, 3);
    let mut below = |n: usize| rng.below(u32::try_from(n).unwrap_or(u32::MAX)) as usize;
    for _ in 0..1000 {
        let (i, j) = (below(n), below(n));
        let terms = (0..n).map(|k| f64::from(a[i * n + k]) * f64::from(b[k * n + j]));
        let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), t: f64| (sum + t, size + t.abs()));
        let found = f64::from(c[i * n + j]);
        let allowed = 4.0 * f64::from(f32::EPSILON) * size;
        ensure!(
            (found - sum).abs() <= allowed,
            "[{i}, {j}] is {found}, expected {sum}"
        );
    }
    Ok(())
}

/// The product that the executor is built on, without plan, runtime or memory of a model.
fn bare(n: usize) -> Result<Contestant<'static>> {
    let factors = factors(n);
    let mut c = vec![0.0; n * n];
    let [a, b] = &factors;
    gradus::cpu::gemm_rows([n; 3], &mut c, a, b, true);
    check(n, &factors, &c).context("bare gemm")?;
    let run = move |times: usize| {
        let [a, b] = &factors;
        for _ in 0..times {
            gradus::cpu::gemm_rows([n; 3], black_box(&mut c), black_box(a), b, true);
        }
        Ok(())
    };
    Ok(Contestant {
        name: "bare gemm".into(),
        run: Box::new(run),
    })
}

/// The product on a device; run once, and the result checked.
fn on_device(device: &Device, n: usize) -> Result<Contestant<'static>> {
    let factors = factors(n);
    let mut product = Product::new(device, n, &factors)?;
    product.run(1)?;
    check(n, &factors, &product.result()?)?;
    Ok(Contestant {
        name: machine::short_name(device),
        run: Box::new(move |times| product.run(times)),
    })
}
