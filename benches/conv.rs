//! Convolutions and their gradients, each beside a matmul of as many operations.

use anyhow::{Context, Result, ensure};
use gradus::graph::ops::{Conv, Direction, Op, Window};
use gradus::graph::philox::Rng;
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
            let (name, conv) = (format!("{what} {}", layer.name), layer.conv(direction));
            if !wanted(&name) {
                continue;
            }
            let [groups, m, n, k] = conv.product(layer.images);
            let y = layer.images * layer.channels[1] * conv.windows[0].output.pow(2);
            let work = 2 * y * layer.channels[0] / groups * layer.taps.pow(2);
            let mut contestants = Vec::new();
            for device in devices {
                let on = || format!("{name} on {}", machine::short_name(device));
                contestants.push(matmul(device, work, [groups, m, n, k]).with_context(on)?);
                contestants.push(layer.on(&conv, device).with_context(on)?);
            }
            cases.push(Case {
                name,
                unit: "GFLOP/s",
                amount: work as f64 / 1e9,
                contestants,
            });
        }
    }
    Ok(cases)
}

/// A matmul of as many operations: square, or as thin as the layer.
fn matmul(
    device: &Device,
    work: usize,
    [groups, m, n, k]: [usize; 4],
) -> Result<Contestant<'static>> {
    let least = m.min(n).min(k);
    let other = ((work / 2 / groups / least.max(1)) as f64).sqrt() as usize;
    let square = ((work / 2) as f64).cbrt() as usize;
    let [m, n, k] = if square > 128 {
        [square; 3]
    } else {
        [least.max(1), other, other]
    };
    let arrays = [noise(m * k, 1), noise(k * n, 2)];
    let mut planned = Planned::new(device, &arrays, |scope| {
        scope
            .param("a", [m, k], Zeros)
            .matmul(scope.param("b", [k, n], Zeros))
    })?;
    Ok(Contestant {
        name: format!("{}, matmul {m}×{n}, K {k}", machine::short_name(device)),
        run: Box::new(move |times| planned.run(times)),
    })
}

fn noise(count: usize, stream: u64) -> Vec<f32> {
    let mut rng = Rng::new(0, stream);
    (0..count)
        .map(|_| (2.0 * rng.uniform() - 1.0) as f32)
        .collect()
}

impl Layer {
    fn conv(&self, direction: Direction) -> Conv {
        let padding = self.taps / 2;
        let window = Window {
            input: self.size,
            output: (self.size + 2 * padding - self.taps) / self.stride + 1,
            size: self.taps,
            stride: self.stride,
            dilation: 1,
            padding,
        };
        Conv {
            direction,
            groups: self.groups,
            inputs: self.channels[0] / self.groups,
            outputs: self.channels[1] / self.groups,
            windows: vec![window; 2],
        }
    }

    /// Run once, and the result checked.
    fn on(&self, conv: &Conv, device: &Device) -> Result<Contestant<'static>> {
        let window = conv.windows[0];
        let of = |channels: usize, size: usize| vec![self.images, channels, size, size];
        let x = of(self.channels[0], window.input);
        let w = vec![self.channels[1], conv.inputs, self.taps, self.taps];
        let y = of(self.channels[1], window.output);
        let shapes = match conv.direction {
            Direction::Output => [x, w],
            Direction::Input => [y, w],
            Direction::Weight => [x, y],
        };
        let count = |shape: &Vec<usize>| shape.iter().product::<usize>();
        let arrays = [noise(count(&shapes[0]), 1), noise(count(&shapes[1]), 2)];
        let mut planned = Planned::new(device, &arrays, |scope| {
            let a = scope.param("a", &shapes[0][..], Zeros);
            let b = scope.param("b", &shapes[1][..], Zeros);
            a.apply(Op::Conv(conv.clone()), &[b])
        })?;
        planned.run(1)?;
        self.check(conv, &arrays, &planned.result(0)?)?;
        Ok(Contestant {
            name: machine::short_name(device),
            run: Box::new(move |times| planned.run(times)),
        })
    }

    /// Compares some elements with sums in f64.
    fn check(&self, conv: &Conv, [a, b]: &[Vec<f32>; 2], found: &[f32]) -> Result<()> {
        let window = conv.windows[0];
        let (q, k, p) = (window.input, window.size, window.output);
        let (inputs, outputs) = (conv.inputs, conv.outputs);
        let [groups, ..] = conv.product(self.images);
        let on = |p: usize, k: usize| {
            let on = (p * window.stride + k).checked_sub(window.padding);
            on.filter(|on| *on < q)
        };
        // Every product that there is, if its result is one of those looked at.
        let result: usize = conv.result(self.images).iter().product();
        ensure!(found.len() == result, "{} elements", found.len());
        let mut rng = Rng::new(0, 3);
        for _ in 0..200 {
            let at = rng.below(u32::try_from(result)?) as usize;
            let (mut exact, mut size) = (0.0, 0.0);
            let mut add = |i: usize, j: usize| {
                let term = f64::from(a[i]) * f64::from(b[j]);
                exact += term;
                size += term.abs();
            };
            let x = |n: usize, g: usize, c: usize, [i, j]: [usize; 2]| {
                (((n * groups + g) * inputs + c) * q + i) * q + j
            };
            let y = |n: usize, g: usize, o: usize, [i, j]: [usize; 2]| {
                (((n * groups + g) * outputs + o) * p + i) * p + j
            };
            let w = |g: usize, o: usize, c: usize, [i, j]: [usize; 2]| {
                (((g * outputs + o) * inputs + c) * k + i) * k + j
            };
            let plane = |n: usize| (0..n * n).map(move |i| [i / n, i % n]);
            let under = |[i, j]: [usize; 2], [s, t]: [usize; 2]| on(i, s).zip(on(j, t));
            match conv.direction {
                Direction::Output => {
                    let here = [at / p % p, at % p];
                    let (channel, n) = (
                        at / p / p % (groups * outputs),
                        at / p / p / groups / outputs,
                    );
                    let (g, o) = (channel / outputs, channel % outputs);
                    for c in 0..inputs {
                        for tap in plane(k) {
                            if let Some((i, j)) = under(here, tap) {
                                add(x(n, g, c, [i, j]), w(g, o, c, tap));
                            }
                        }
                    }
                }
                Direction::Input => {
                    let here = (at / q % q, at % q);
                    let (channel, n) =
                        (at / q / q % (groups * inputs), at / q / q / groups / inputs);
                    let (g, c) = (channel / inputs, channel % inputs);
                    for o in 0..outputs {
                        for (tap, position) in
                            plane(k).flat_map(|tap| plane(p).map(move |p| (tap, p)))
                        {
                            if under(position, tap) == Some(here) {
                                add(y(n, g, o, position), w(g, o, c, tap));
                            }
                        }
                    }
                }
                Direction::Weight => {
                    let tap = [at / k % k, at % k];
                    let (c, channel) = (at / k / k % inputs, at / k / k / inputs);
                    let (g, o) = (channel / outputs, channel % outputs);
                    for n in 0..self.images {
                        for position in plane(p) {
                            if let Some((i, j)) = under(position, tap) {
                                add(x(n, g, c, [i, j]), y(n, g, o, position));
                            }
                        }
                    }
                }
            }
            let found = f64::from(found[at]);
            ensure!(
                (found - exact).abs() <= 8.0 * f64::from(f32::EPSILON) * size,
                "element {at} is {found}, expected {exact}"
            );
        }
        Ok(())
    }
}
