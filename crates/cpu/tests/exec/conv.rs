//! Convolutions with epilogues, in all directions, at awkward sizes.

use gradus_graph::ops::{Binary, Conv, Direction, Unary, Window};
use gradus_graph::plan::{ConvKernel, Factor, KernelKind};
use gradus_graph::{DType, Expr, Index, Program};

use super::a_row;
use super::bench::{Memory, run};
use super::build::{Build, at, noise};

/// What the epilogue does beside storing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Epilogue {
    Plain,
    /// Adds a bias for each channel, then relu.
    BiasRelu,
    /// Keeps what lies where another tensor is positive, over that tensor.
    MaskInPlace,
    /// Stores the square, with channels last.
    SquareLast,
}

const KINDS: [Epilogue; 4] = [
    Epilogue::Plain,
    Epilogue::BiasRelu,
    Epilogue::MaskInPlace,
    Epilogue::SquareLast,
];

const DIRECTIONS: [Direction; 3] = [Direction::Output, Direction::Input, Direction::Weight];

fn epilogue(kind: Epilogue, [n, c, p]: [usize; 3]) -> Program {
    let here = at(0, &[(c * p) as i64, p as i64, 1]);
    let mut b = Build::new(&[n, c, p], 3);
    let acc = b.push(Expr::Accumulator, DType::F32);
    match kind {
        Epilogue::Plain => b.store(2, here, acc),
        Epilogue::BiasRelu => {
            let bias = b.load(3, Index::axis(1));
            let y = b.binary(Binary::Add, acc, bias);
            let y = b.unary(Unary::Relu, y);
            b.store(2, here, y);
        }
        Epilogue::MaskInPlace => {
            let y = b.load(2, here.clone());
            let zero = b.constant(0f32);
            let on = b.binary(Binary::Gt, y, zero);
            let dx = b.select(on, acc, zero);
            b.store(2, here, dx);
        }
        Epilogue::SquareLast => {
            let y = b.unary(Unary::Square, acc);
            b.store(2, at(0, &[(c * p) as i64, 1, c as i64]), y);
        }
    }
    b.program
}

/// Input, taps, stride, dilation and padding of an axis.
fn window([input, size, stride, dilation, padding]: [usize; 5]) -> Window {
    let span = dilation * (size - 1) + 1;
    Window {
        input,
        output: (input + 2 * padding).checked_sub(span).unwrap() / stride + 1,
        size,
        stride,
        dilation,
        padding,
    }
}

/// The products of a convolution: elements of x, w and y.
fn products(conv: &Conv, images: usize, mut f: impl FnMut([usize; 3])) {
    let mut places = vec![[0; 3]];
    for w in &conv.windows {
        let next = places.iter().flat_map(|[q, k, p]| {
            let taps = (0..w.size).flat_map(move |tap| (0..w.output).map(move |at| (tap, at)));
            taps.filter_map(move |(tap, at)| {
                let on = (at * w.stride + tap * w.dilation).checked_sub(w.padding)?;
                let place = [q * w.input + on, k * w.size + tap, p * w.output + at];
                (on < w.input).then_some(place)
            })
        });
        places = next.collect();
    }
    let count = |of: fn(&Window) -> usize| conv.windows.iter().map(of).product::<usize>();
    let [qs, ks, ps] = [count(|w| w.input), count(|w| w.size), count(|w| w.output)];
    let (groups, inputs, outputs) = (conv.groups, conv.inputs, conv.outputs);
    for n in 0..images {
        for (g, o, c) in (0..groups)
            .flat_map(|g| (0..outputs).flat_map(move |o| (0..inputs).map(move |c| (g, o, c))))
        {
            let x = ((n * groups + g) * inputs + c) * qs;
            let w = ((g * outputs + o) * inputs + c) * ks;
            let y = ((n * groups + g) * outputs + o) * ps;
            for [q, k, p] in &places {
                f([x + q, w + k, y + p]);
            }
        }
    }
}

/// An operand of so many elements, doubled where it is read.
fn doubled(operand: usize, len: usize) -> Factor {
    let mut b = Build::new(&[len], 1);
    let x = b.load(operand, Index::axis(0));
    let twice = b.binary(Binary::Add, x, x);
    Factor::Computed(b.program, twice)
}

fn check(conv: &Conv, images: usize, kind: Epilogue, computed: bool) {
    let count = |of: fn(&Window) -> usize| conv.windows.iter().map(of).product::<usize>();
    let channels = [conv.groups * conv.inputs, conv.groups * conv.outputs];
    let x = noise(images * channels[0] * count(|w| w.input), 1);
    let w = noise(channels[0] * conv.outputs * count(|w| w.size), 2);
    let y = noise(images * channels[1] * count(|w| w.output), 3);
    let sums = conv.direction == Direction::Weight;
    let (a, b, len) = match conv.direction {
        Direction::Output => (&x, &w, y.len()),
        Direction::Input => (&y, &w, x.len()),
        Direction::Weight => (&x, &y, w.len()),
    };
    let result = conv.result(images);
    let old = noise(len, 4);
    let bias = noise(result[1].max(1), 5);
    let out = match kind {
        Epilogue::MaskInPlace => Memory::floats(&old).in_place(),
        _ => Memory::out(len, DType::F32),
    };
    let memory = [
        Memory::floats(a),
        Memory::floats(b),
        out,
        Memory::floats(&bias),
        Memory::out(channels[1], DType::F32),
    ];
    let kernel = ConvKernel {
        conv: conv.clone(),
        images,
        a: match computed {
            true => doubled(0, a.len()),
            false => Factor::Dense(0),
        },
        b: match computed && sums {
            true => doubled(1, b.len()),
            false => Factor::Dense(1),
        },
        row_sum: sums.then_some(4),
        epilogue: epilogue(kind, result),
    };
    let outcome = run(KernelKind::Conv(kernel), &memory, &a_row());
    let twice = |of: Vec<f32>, when: bool| match when {
        true => of.into_iter().map(|x| 2.0 * x).collect(),
        false => of,
    };
    let x = twice(x, computed && conv.direction != Direction::Input);
    let y = twice(y, computed && conv.direction != Direction::Output);
    let (mut truth, mut size) = (vec![0.0; len], vec![0.0; len]);
    products(conv, images, |[i, j, k]| {
        let (to, a, b) = match conv.direction {
            Direction::Output => (k, x[i], w[j]),
            Direction::Input => (i, y[k], w[j]),
            Direction::Weight => (j, x[i], y[k]),
        };
        let term = f64::from(a) * f64::from(b);
        truth[to] += term;
        size[to] += term.abs();
    });
    let found = outcome.floats(2);
    let [_, channels, positions] = result;
    for (at, (acc, size)) in truth.into_iter().zip(size).enumerate() {
        let (n, c, p) = (
            at / (channels * positions),
            at / positions % channels,
            at % positions,
        );
        let (place, truth) = match kind {
            Epilogue::Plain => (at, acc),
            Epilogue::BiasRelu => (at, (acc + f64::from(bias[c])).max(0.0)),
            Epilogue::MaskInPlace if old[at] > 0.0 => (at, acc),
            Epilogue::MaskInPlace => (at, 0.0),
            Epilogue::SquareLast => ((n * positions + p) * channels + c, acc * acc),
        };
        let bound = 8.0 * f64::from(f32::EPSILON) * (size + 1.0) * (acc.abs() + 1.0);
        let error = (f64::from(found[place]) - truth).abs();
        assert!(
            error <= bound,
            "{at}: {} is not {truth} ({conv:?}, {images} images, {kind:?})",
            found[place]
        );
    }
    if sums {
        let positions = count(|w| w.output);
        let (channels, found) = (conv.groups * conv.outputs, outcome.floats(4));
        for (c, found) in found.into_iter().enumerate() {
            let all = (0..images).flat_map(|n| {
                let at = (n * channels + c) * positions;
                y[at..at + positions].iter().map(|v| f64::from(*v))
            });
            let error = (f64::from(found) - all.sum::<f64>()).abs();
            assert!(error <= 1e-3, "bias {c} of {conv:?}");
        }
    }
}

/// All directions of a convolution of these groups and channels.
fn all([groups, inputs, outputs]: [usize; 3], windows: &[[usize; 5]], images: usize) {
    for direction in DIRECTIONS {
        for kind in KINDS {
            let conv = Conv {
                direction,
                groups,
                inputs,
                outputs,
                windows: windows.iter().copied().map(window).collect(),
            };
            check(&conv, images, kind, false);
            if kind == Epilogue::MaskInPlace {
                check(&conv, images, kind, true);
            }
        }
    }
}

#[test]
fn small_images_share_products() {
    all([1, 3, 5], &[[7, 3, 1, 1, 1], [5, 3, 1, 1, 1]], 13);
    all([1, 4, 2], &[[4, 3, 1, 1, 0], [4, 3, 1, 1, 0]], 33);
    all([1, 2, 17], &[[1, 1, 1, 1, 0], [1, 1, 1, 1, 0]], 7);
}

#[test]
fn one_image() {
    all([1, 3, 4], &[[9, 3, 1, 1, 1], [11, 5, 1, 1, 2]], 1);
    all([2, 33, 32], &[[40, 3, 1, 1, 1], [37, 3, 1, 1, 1]], 1);
}

#[test]
fn single_taps() {
    all([1, 9, 7], &[[5, 1, 1, 1, 0], [6, 1, 1, 1, 0]], 3);
    all([1, 40, 24], &[[17, 1, 1, 1, 0], [16, 1, 1, 1, 0]], 5);
    all([2, 3, 4], &[[9, 1, 2, 1, 0], [7, 1, 3, 1, 0]], 3);
    all([1, 2, 3], &[[4, 1, 1, 1, 1], [5, 1, 1, 1, 2]], 2);
}

#[test]
fn strides_dilations_and_padding() {
    all([1, 3, 2], &[[11, 3, 2, 1, 1], [12, 3, 3, 2, 0]], 4);
    all([1, 2, 3], &[[9, 3, 1, 2, 4], [8, 2, 1, 3, 0]], 5);
    all([1, 2, 2], &[[3, 2, 1, 1, 4], [2, 3, 1, 2, 6]], 2);
    all([1, 3, 2], &[[5, 2, 4, 1, 0], [6, 1, 5, 1, 3]], 2);
}

#[test]
fn groups_and_single_channels() {
    all([3, 2, 4], &[[6, 3, 1, 1, 1], [7, 3, 1, 1, 1]], 4);
    all([37, 1, 1], &[[9, 3, 1, 1, 1], [20, 3, 1, 1, 1]], 3);
    all([16, 1, 1], &[[9, 3, 2, 1, 1], [8, 3, 2, 1, 1]], 2);
    all([5, 1, 2], &[[9, 3, 1, 2, 2], [10, 5, 1, 1, 2]], 3);
}

#[test]
fn one_axis_and_three() {
    all([1, 3, 5], &[[33, 5, 1, 1, 2]], 6);
    all([2, 2, 3], &[[41, 4, 3, 2, 1]], 2);
    let cube = [[4, 2, 1, 1, 1], [5, 3, 1, 1, 1], [6, 3, 1, 1, 0]];
    all([1, 2, 3], &cube, 3);
    let steps = [[5, 2, 2, 1, 0], [5, 3, 1, 2, 2], [7, 3, 2, 1, 1]];
    all([2, 1, 3], &steps, 2);
}

#[test]
fn nothing() {
    all([1, 3, 2], &[[5, 3, 1, 1, 1]], 0);
    all([1, 0, 2], &[[5, 3, 1, 1, 1]], 2);
    all([1, 2, 0], &[[5, 3, 1, 1, 1]], 2);
}

#[test]
fn several_threads() {
    let same = |n| [n, 3, 1, 1, 1];
    all([1, 16, 32], &[same(14), same(14)], 9);
    all([1, 24, 40], &[same(28), same(28)], 4);
    all([1, 24, 40], &[[28, 3, 2, 1, 1], [28, 3, 2, 1, 1]], 5);
    all([4, 16, 16], &[same(12), same(11)], 7);
    all([64, 1, 1], &[same(28), same(28)], 6);
}

#[test]
fn what_does_not_fit_is_an_error() {
    use gradus_cpu::CpuRuntime;
    use gradus_graph::backend::{ModelMemory, Runtime};
    let conv = Conv {
        direction: Direction::Output,
        groups: 1,
        inputs: 3,
        outputs: 2,
        windows: vec![window([40, 3, 1, 1, 1])],
    };
    let compile = |images: usize, row_sum: Option<usize>| {
        let memory = [
            Memory::floats(&noise(2 * 3 * 40, 1)),
            Memory::floats(&noise(2 * 3 * 3, 2)),
            Memory::out(images * 2 * 40, DType::F32),
        ];
        let kernel = ConvKernel {
            conv: conv.clone(),
            images,
            a: Factor::Dense(0),
            b: Factor::Dense(1),
            row_sum,
            epilogue: epilogue(Epilogue::Plain, conv.result(images)),
        };
        let plan = super::bench::plan(KernelKind::Conv(kernel), &memory, 0, 0);
        let compiled = CpuRuntime::new(ModelMemory::default()).compile(plan.into());
        compiled.map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(compile(2, None), Ok(()));
    let error = compile(3, None).unwrap_err();
    assert!(error.contains("but 360 are used"), "{error}");
    let error = compile(2, Some(2)).unwrap_err();
    assert!(error.contains("bias"), "{error}");
}
