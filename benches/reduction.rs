//! Sums and softmax over rows: many, few and long, many and short.

use anyhow::{Context, Result, ensure};
use gradus::graph::Var;
use gradus::graph::philox::Rng;
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

const SHAPES: [[usize; 2]; 3] = [[4096, 1024], [64, 65_536], [65_536, 64]];

/// A reduction of each row of `[rows, cols]`.
struct Reduction {
    name: &'static str,
    build: for<'g> fn(Var<'g>) -> Var<'g>,
    /// The same for a row; beside each result, the size that rounding is in proportion to.
    row: fn(&[f64]) -> Vec<[f64; 2]>,
}

const REDUCTIONS: [Reduction; 2] = [
    Reduction {
        name: "sum",
        build: |x| x.sum(&[1]),
        row: |x| vec![[x.iter().sum(), x.iter().map(|x| x.abs()).sum()]],
    },
    Reduction {
        name: "softmax",
        build: |x| x.softmax(),
        row: |x| {
            let sum: f64 = x.iter().map(|x| x.exp()).sum();
            x.iter().map(|x| [x.exp() / sum; 2]).collect()
        },
    },
];

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for reduction in &REDUCTIONS {
        for [rows, cols] in SHAPES {
            let name = format!("{} of rows, {rows}×{cols}", reduction.name);
            if !wanted(&name) {
                continue;
            }
            let (mut contestants, mut amount) = (Vec::new(), 0.0);
            for device in devices {
                let on = || format!("{name} on {}", machine::short_name(device));
                let (contestant, results) = reduction.on(device, [rows, cols]).with_context(on)?;
                amount = 4.0 * (rows * cols + results) as f64 / 1e9;
                contestants.push(contestant);
            }
            cases.push(Case {
                name,
                unit: "GB/s",
                amount,
                contestants,
            });
        }
    }
    Ok(cases)
}

impl Reduction {
    /// Run once, and the result checked; and how many elements that is.
    fn on(&self, device: &Device, shape: [usize; 2]) -> Result<(Contestant<'static>, usize)> {
        let [rows, cols] = shape;
        let mut rng = Rng::new(4, 0);
        let x: Vec<f32> = (0..rows * cols)
            .map(|_| (2.0 * rng.uniform() - 1.0) as f32)
            .collect();
        let build = self.build;
        let mut planned = Planned::new(device, std::slice::from_ref(&x), |scope| {
            build(scope.param("x", shape, Zeros))
        })?;
        planned.run(1)?;
        let found = planned.result(0)?;
        let width = found.len() / rows;
        for (i, (x, found)) in x.chunks(cols).zip(found.chunks(width)).enumerate() {
            let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
            for ([expected, size], &found) in (self.row)(&x).into_iter().zip(found) {
                let allowed = 8.0 * f64::from(f32::EPSILON) * size;
                let near = (expected - f64::from(found)).abs() <= allowed;
                ensure!(near, "row {i}: {found}, expected {expected}");
            }
        }
        let contestant = Contestant::planned(machine::short_name(device), planned);
        Ok((contestant, found.len()))
    }
}
