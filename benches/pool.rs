//! Maxima over windows side by side and over windows that overlap, and their gradients.

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::graph::{PoolOptions, vjp};
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

/// Images, channels and size.
const INPUT: [usize; 4] = [32, 64, 28, 28];
const OUTPUT: [usize; 4] = [32, 64, 14, 14];

/// Windows of these sizes that halve the images.
const POOLS: [(&str, usize, usize); 2] = [("2×2 by 2", 2, 0), ("3×3 by 2", 3, 1)];

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for (windows, size, padding) in POOLS {
        for gradient in [false, true] {
            let what = if gradient { ", gradient" } else { "" };
            let name = format!("max of {windows}, 64×28×28{what}");
            if !wanted(&name) {
                continue;
            }
            let options = PoolOptions::new(size).stride(2).padding(padding);
            let contestants = devices.iter().map(|device| {
                let on = || format!("{name} on {}", machine::short_name(device));
                pool(device, &options, gradient).with_context(on)
            });
            let contestants = contestants.collect::<Result<_>>()?;
            let [x, y] = [INPUT, OUTPUT].map(|shape| shape.iter().product::<usize>());
            // The gradient reads both, and looks for the maxima again.
            let moved = if gradient { 2 * x + y } else { x + y };
            cases.push(Case {
                name,
                unit: "GB/s",
                amount: 4.0 * moved as f64 / 1e9,
                contestants,
            });
        }
    }
    Ok(cases)
}

/// Run once, and the result checked: a maximum grows as what it is taken of, so that
/// `Σ y·dy = Σ x·dx` ([Euler](https://en.wikipedia.org/wiki/Homogeneous_function#Euler's_theorem)).
fn pool(device: &Device, options: &PoolOptions, gradient: bool) -> Result<Contestant<'static>> {
    let arrays = [(INPUT, 1), (OUTPUT, 2)].map(|(shape, stream)| {
        let mut rng = Rng::new(5, stream);
        let each = (0..shape.iter().product()).map(|_| (2.0 * rng.uniform() - 1.0) as f32);
        each.collect::<Vec<f32>>()
    });
    let planned = |gradient: bool| {
        let mut planned = Planned::new(device, &arrays, |scope| {
            let x = scope.param("x", INPUT, Zeros);
            let dy = scope.param("dy", OUTPUT, Zeros);
            let y = x.max_pool(options);
            let dx = vjp(y, dy, &[x]).into_iter().next().flatten();
            dx.filter(|_| gradient).unwrap_or(y)
        })?;
        planned.run(1)?;
        let result = planned.result(0)?;
        Ok::<_, anyhow::Error>((planned, result))
    };
    let [(forward, y), (backward, dx)] = [planned(false)?, planned(true)?];
    let dot = |a: &[f32], b: &[f32]| {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
    };
    let ((expected, size), (found, _)) = (dot(&y, &arrays[1]), dot(&dx, &arrays[0]));
    ensure!(
        (found - expected).abs() <= 1e-6 * size,
        "the product with the cotangent is {found}, expected {expected}"
    );
    let planned = if gradient { backward } else { forward };
    Ok(Contestant::planned(machine::short_name(device), planned))
}
