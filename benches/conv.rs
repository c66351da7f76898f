//! Convolutions and their gradients, each beside a matmul of as many operations.

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::graph::{ConvOptions, vjp};
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

/// Square images and windows that keep their size, or halve it.
#[derive(Clone, Copy)]
struct Layer {
    name: &'static str,
    images: usize,
    groups: usize,
    /// Channels in all groups.
    channels: [usize; 2],
    size: usize,
    taps: usize,
    stride: usize,
}

const LAYERS: [Layer; 8] = [
    layer("1→16, 28×28, 3×3", [1, 16], 28, 3),
    layer("16→32, 14×14, 3×3", [16, 32], 14, 3),
    layer("32→64, 28×28, 3×3", [32, 64], 28, 3),
    layer("64→64, 14×14, 3×3", [64, 64], 14, 3),
    layer("128→128, 7×7, 3×3", [128, 128], 7, 3),
    layer("64→128, 14×14, 1×1", [64, 128], 14, 1),
    Layer {
        stride: 2,
        ..layer("64→128, 28×28, 3×3 by 2", [64, 128], 28, 3)
    },
    Layer {
        groups: 64,
        ..layer("64 alone, 28×28, 3×3", [64, 64], 28, 3)
    },
];

const fn layer(name: &'static str, channels: [usize; 2], size: usize, taps: usize) -> Layer {
    Layer {
        name,
        images: 32,
        groups: 1,
        channels,
        size,
        taps,
        stride: 1,
    }
}

/// What is computed from the other two of x, w and y.
#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Output,
    Input,
    Weight,
}

const DIRECTIONS: [(Direction, &str); 3] = [
    (Direction::Output, "conv"),
    (Direction::Input, "conv input gradient"),
    (Direction::Weight, "conv weight gradient"),
];

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for layer in LAYERS {
        for (direction, what) in DIRECTIONS {
            let name = format!("{what} {}", layer.name);
            if !wanted(&name) {
                continue;
            }
            let mut contestants = Vec::new();
            for device in devices {
                let on = || format!("{name} on {}", machine::short_name(device));
                contestants.push(matmul(device, layer.work()).with_context(on)?);
                contestants.push(layer.on(direction, device).with_context(on)?);
            }
            cases.push(Case {
                name,
                unit: "GFLOP/s",
                amount: layer.work() as f64 / 1e9,
                contestants,
            });
        }
    }
    Ok(cases)
}

/// A square matmul of as many operations, about.
fn matmul(device: &Device, work: usize) -> Result<Contestant<'static>> {
    let size = ((work / 2) as f64).cbrt().round() as usize;
    let arrays = [1, 2].map(|stream| noise(size * size, stream));
    let planned = Planned::new(device, &arrays, |scope| {
        let factor = |name| scope.param(name, [size, size], Zeros);
        factor("a").matmul(factor("b"))
    })?;
    Ok(Contestant::planned(
        format!("{}, matmul {size}", machine::short_name(device)),
        planned,
    ))
}

fn noise(count: usize, stream: u64) -> Vec<f32> {
    let mut rng = Rng::new(0, stream);
    let mut next = || (2.0 * rng.uniform() - 1.0) as f32;
    (0..count).map(|_| next()).collect()
}

impl Layer {
    /// Of each axis of the result.
    const fn output(&self) -> usize {
        (self.size - 1) / self.stride + 1
    }

    /// Floating-point operations.
    fn work(&self) -> usize {
        let [inputs, outputs] = self.channels;
        let each = 2 * inputs / self.groups * self.taps.pow(2);
        self.images * outputs * self.output().pow(2) * each
    }

    /// The shapes of x, w and y.
    fn shapes(&self) -> [[usize; 4]; 3] {
        let ([inputs, outputs], n) = (self.channels, self.images);
        [
            [n, inputs, self.size, self.size],
            [outputs, inputs / self.groups, self.taps, self.taps],
            [n, outputs, self.output(), self.output()],
        ]
    }

    fn arrays(&self) -> [Vec<f32>; 3] {
        let [x, w, y] = self.shapes().map(|shape| shape.iter().product());
        [noise(x, 1), noise(w, 2), noise(y, 3)]
    }

    fn planned(&self, direction: Direction, device: &Device) -> Result<Planned> {
        let [x, w, y] = self.shapes();
        let options = ConvOptions::new()
            .stride(self.stride)
            .padding(self.taps / 2)
            .groups(self.groups);
        Planned::new(device, &self.arrays(), |scope| {
            let (x, w, dy) = (
                scope.param("x", x, Zeros),
                scope.param("w", w, Zeros),
                scope.param("dy", y, Zeros),
            );
            let y = x.conv(w, &options);
            let wrt = match direction {
                Direction::Output => return y,
                Direction::Input => x,
                Direction::Weight => w,
            };
            let gradient = vjp(y, dy, &[wrt]).into_iter().next().flatten();
            gradient.unwrap_or(y)
        })
    }

    /// Run once, and the result checked: some elements of the output, and gradients by
    /// `Σ y·dy = Σ x·dx = Σ w·dw`.
    fn on(&self, direction: Direction, device: &Device) -> Result<Contestant<'static>> {
        let [x, w, dy] = self.arrays();
        let mut output = self.planned(Direction::Output, device)?;
        output.run(1)?;
        let y = output.result(0)?;
        self.check([&x, &w], &y)?;
        let mut planned = self.planned(direction, device)?;
        planned.run(1)?;
        let with = match direction {
            Direction::Output => &dy,
            Direction::Input => &x,
            Direction::Weight => &w,
        };
        let ((expected, size), (found, _)) = (dot(&y, &dy), dot(&planned.result(0)?, with));
        ensure!(
            (found - expected).abs() <= 1e-6 * size,
            "the product with the cotangent is {found}, expected {expected}"
        );
        Ok(Contestant::planned(machine::short_name(device), planned))
    }

    /// Compares some elements with sums in f64.
    fn check(&self, [x, w]: [&[f32]; 2], y: &[f32]) -> Result<()> {
        let (size, taps, padding) = (self.size, self.taps, self.taps / 2);
        let (inputs, outputs) = (self.channels[0] / self.groups, self.channels[1]);
        let mut rng = Rng::new(0, 4);
        for _ in 0..500 {
            let at = rng.below(u32::try_from(y.len())?) as usize;
            let out = self.output();
            let (image, o, i, j) = (
                at / out / out / outputs,
                at / out / out % outputs,
                at / out % out,
                at % out,
            );
            let (mut exact, mut scale) = (0.0, 0.0);
            for term in 0..inputs * taps * taps {
                let (c, s, t) = (term / taps / taps, term / taps % taps, term % taps);
                let c = o / (outputs / self.groups) * inputs + c;
                let on = |p: usize, tap: usize| {
                    let on = (p * self.stride + tap).checked_sub(padding);
                    on.filter(|on| *on < size)
                };
                if let Some((i, j)) = on(i, s).zip(on(j, t)) {
                    let x = x[((image * self.channels[0] + c) * size + i) * size + j];
                    let product = f64::from(x) * f64::from(w[o * inputs * taps * taps + term]);
                    exact += product;
                    scale += product.abs();
                }
            }
            let found = f64::from(y[at]);
            ensure!(
                (found - exact).abs() <= 8.0 * f64::from(f32::EPSILON) * scale,
                "element {at} is {found}, expected {exact}"
            );
        }
        Ok(())
    }
}

/// The sum of all products, and of their sizes.
fn dot(a: &[f32], b: &[f32]) -> (f64, f64) {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
}
