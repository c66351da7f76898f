//! Changes of images: the identity in evaluation; while training one of the outcomes there are for
//! each sample, all of them in time, and the same ones on every device.

use std::collections::BTreeSet;

use gradus::prelude::*;
use gradus_cpu::oracle;
use gradus_graph::IntoShape;
use libtest_mimic::{Arguments, Failed, Trial};
use support::evaluator::{Evaluator, Fed, Oracle32, Oracle64};
use support::gpu::Gpu;
use support::planned;

mod support;

/// Samples with two channels of 4 rows and 5 columns, no two elements alike, none 0.
const SAMPLES: usize = 256;
const ROWS: usize = 4;
const COLUMNS: usize = 5;
const SHAPE: [usize; 4] = [SAMPLES, 2, ROWS, COLUMNS];

fn images(shape: impl IntoShape) -> Result<Array, Failed> {
    let n = shape.dims().iter().product::<usize>();
    Ok(Array::new(
        shape,
        (1..=n).map(|i| i as f32).collect::<Vec<f32>>(),
    )?)
}

/// What an evaluator makes of the images.
fn made(
    evaluator: &dyn Evaluator,
    layer: &dyn Layer,
    images: &Array,
    step: u32,
    seed: u64,
) -> Result<Vec<f32>, Failed> {
    let graph = Graph::new();
    let x = graph.input("x", *images.shape(), DType::F32);
    let y = Scope::root(&graph, true).apply("augment", layer, x);
    graph.check()?;
    let mut fed = Fed::inputs(vec![images.clone()]);
    fed.row = oracle::row(step, seed, &[]);
    let found = evaluator.eval(&graph, &fed, &[y])?;
    if !found.bad_indices.is_empty() {
        return Err("a place outside of the images".into());
    }
    Ok(found.values[0].as_f32()?.to_vec())
}

fn layers() -> Vec<(&'static str, Box<dyn Layer>)> {
    vec![
        ("flip", Box::new(RandomFlip::horizontal())),
        (
            "vertical flip",
            Box::new(RandomFlip::vertical().probability(0.3)),
        ),
        (
            "crop",
            Box::new(RandomCrop::new([ROWS, COLUMNS]).padding([(1, 1), (2, 2)])),
        ),
        (
            "smaller crop",
            Box::new(RandomCrop::new([2, 3]).value(-1.0)),
        ),
        ("cutout", Box::new(Cutout::new(3).holes(2))),
        (
            "all",
            Box::new(
                Sequential::new()
                    .random_flip()
                    .random_crop([ROWS, COLUMNS], 2)
                    .normalize([1.0, 2.0], [0.5, 4.0])
                    .cutout(2),
            ),
        ),
    ]
}

/// The oracle in f64 and another evaluator give the same bits, in every step; another step or seed
/// gives others.
fn repeatable(evaluator: &dyn Evaluator) -> Result<(), Failed> {
    let images = images(SHAPE)?;
    for (name, layer) in layers() {
        let mut seen = BTreeSet::new();
        for (step, seed) in [(0, 7), (1, 7), (0, 8)] {
            let wanted = made(&Oracle64, &*layer, &images, step, seed)?;
            let found = made(evaluator, &*layer, &images, step, seed)?;
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            if bits(&found) != bits(&wanted) {
                return Err(format!("{name}: {} differs from the oracle", evaluator.name()).into());
            }
            seen.insert(bits(&found));
        }
        if seen.len() != 3 {
            return Err(format!("{name}: two steps or seeds are alike").into());
        }
    }
    Ok(())
}

/// In evaluation every layer gives back its input, or the middle of it.
fn evaluation() -> Result<(), Failed> {
    let graph = Graph::new();
    let scope = Scope::root(&graph, false);
    let x = graph.input("x", SHAPE, DType::F32);
    for (name, layer) in layers() {
        let y = scope.apply(name, &*layer, x);
        if matches!(name, "smaller crop" | "all") {
            continue;
        }
        if y.id() != x.id() {
            return Err(format!("{name} is not the identity").into());
        }
    }
    let middle = RandomCrop::new([2, 3]).padding([(4, 0), (1, 0)]);
    let y = scope.apply("middle", &middle, x);
    let wanted = x.slice(&[0, 0, 1, 1], &[SAMPLES, 2, 3, 4], &[1; 4]);
    let fed = Fed::inputs(vec![images(SHAPE)?]);
    let found = Oracle32.eval(&graph, &fed, &[y, wanted])?;
    match found.values[0] == found.values[1] {
        true => Ok(()),
        false => Err("the middle is another".into()),
    }
}

/// Every outcome of a layer on one sample occurs, no other does, and those that are to be evenly
/// frequent are.
fn outcomes(
    layer: &dyn Layer,
    rows: usize,
    columns: usize,
    places: &[(usize, usize)],
    picture: impl Fn((usize, usize), usize, usize) -> Option<(usize, usize)>,
) -> Result<Vec<usize>, Failed> {
    let images = images(SHAPE)?;
    let pixels = images.as_f32()?;
    let outcome = |sample: usize, place: (usize, usize)| -> Vec<f32> {
        let at = |c: usize, i: usize, j: usize| ((sample * 2 + c) * ROWS + i) * COLUMNS + j;
        let all = (0..2 * rows * columns).map(|k| {
            let (c, i, j) = (k / (rows * columns), k / columns % rows, k % columns);
            picture(place, i, j).map_or(0.0, |(i, j)| pixels[at(c, i, j)])
        });
        all.collect()
    };
    let mut counts = vec![0; places.len()];
    for step in 0..8 {
        let found = made(&Oracle32, layer, &images, step, 3)?;
        for (sample, found) in found.chunks(2 * rows * columns).enumerate() {
            let mut hits = Vec::new();
            for (k, &place) in places.iter().enumerate() {
                if outcome(sample, place) == found {
                    hits.push(k);
                }
            }
            match hits.as_slice() {
                // Outcomes that look alike count for all that they are.
                [] => return Err(format!("sample {sample} of step {step} is none").into()),
                hits => hits.iter().for_each(|&k| counts[k] += 1),
            }
        }
    }
    Ok(counts)
}

/// Each count is near its share of all samples.
fn near(counts: &[usize], shares: &[f64]) -> Result<(), Failed> {
    let n = (8 * SAMPLES) as f64;
    for (&count, &share) in counts.iter().zip(shares) {
        let (mean, spread) = (n * share, (n * share * (1.0 - share)).sqrt());
        if (count as f64 - mean).abs() > 4.5 * spread {
            return Err(format!("{counts:?}: {count} of {n}, want about {mean}").into());
        }
    }
    Ok(())
}

fn flips() -> Result<(), Failed> {
    let sideways = |(flip, _): (usize, usize), i: usize, j: usize| match flip {
        0 => Some((i, j)),
        _ => Some((i, COLUMNS - 1 - j)),
    };
    let upside_down = |(flip, _): (usize, usize), i: usize, j: usize| match flip {
        0 => Some((i, j)),
        _ => Some((ROWS - 1 - i, j)),
    };
    let places = [(0, 0), (1, 0)];
    let layer = RandomFlip::horizontal();
    near(
        &outcomes(&layer, ROWS, COLUMNS, &places, sideways)?,
        &[0.5, 0.5],
    )?;
    let layer = RandomFlip::vertical().probability(0.25);
    near(
        &outcomes(&layer, ROWS, COLUMNS, &places, upside_down)?,
        &[0.75, 0.25],
    )?;
    for (probability, shares) in [(0.0, [1.0, 0.0]), (1.0, [0.0, 1.0])] {
        let layer = RandomFlip::horizontal().probability(probability);
        near(
            &outcomes(&layer, ROWS, COLUMNS, &places, sideways)?,
            &shares,
        )?;
    }
    Ok(())
}

fn crops() -> Result<(), Failed> {
    let places = |rows: usize, columns: usize| -> Vec<(usize, usize)> {
        let all = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j)));
        all.collect()
    };
    // One row above and two columns to the left.
    let padded = |(o, p): (usize, usize), i: usize, j: usize| {
        let (i, j) = ((i + o).checked_sub(1)?, (j + p).checked_sub(2)?);
        (i < ROWS && j < COLUMNS).then_some((i, j))
    };
    let layer = RandomCrop::new([ROWS, COLUMNS]).padding([(1, 1), (2, 0)]);
    let counts = outcomes(&layer, ROWS, COLUMNS, &places(3, 3), padded)?;
    near(&counts, &[1.0 / 9.0; 9])?;
    let inside = |(o, p): (usize, usize), i: usize, j: usize| Some((i + o, j + p));
    let layer = RandomCrop::new([2, 4]);
    let counts = outcomes(&layer, 2, 4, &places(3, 2), inside)?;
    near(&counts, &[1.0 / 6.0; 6])
}

fn holes() -> Result<(), Failed> {
    let all = (0..ROWS).flat_map(|i| (0..COLUMNS).map(move |j| (i, j)));
    let middles: Vec<(usize, usize)> = all.collect();
    let covered = |(mi, mj): (usize, usize), i: usize, j: usize| {
        let hole = i.abs_diff(mi) <= 1 && j.abs_diff(mj) <= 1;
        (!hole).then_some((i, j))
    };
    let counts = outcomes(&Cutout::new(3), ROWS, COLUMNS, &middles, covered)?;
    near(&counts, &[1.0 / 20.0; 20])?;
    // An even hole reaches further to the left and up: what it covers begins at most at the end.
    let even = |(mi, mj): (usize, usize), i: usize, j: usize| {
        let hole = (mi..mi + 2).contains(&(i + 1)) && (mj..mj + 2).contains(&(j + 1));
        (!hole).then_some((i, j))
    };
    let counts = outcomes(&Cutout::new(2), ROWS, COLUMNS, &middles, even)?;
    near(&counts, &[1.0 / 20.0; 20])
}

/// A model learns from changed images, verifies, and predicts from plain ones.
fn model(device: &Device) -> Result<(), Failed> {
    let data = datasets::digits().take(100)?.reshape_features([1, 8, 8])?;
    let net = Sequential::new().normalize([0.3], [0.4]).random_flip();
    let net = net
        .random_crop(8, 1)
        .cutout(2)
        .conv2d(4, 3)
        .relu()
        .flatten()
        .dense(10);
    let compile = Compile::for_data(&data).device(device.clone()).batch(20);
    let compile = compile.loss(CrossEntropy::new()).optimizer(Adam::new(1e-3));
    let mut model = net.compile(compile.seed(1))?;
    model.fit(&data, Fit::epochs(2).quiet())?;
    let verified = model.verify()?;
    if !verified.passed() {
        return Err(format!("{verified}").into());
    }
    let first = model.predict(&data)?;
    match first == model.predict(&data)? {
        true => Ok(()),
        false => Err("predictions change".into()),
    }
}

fn main() {
    let gpu = Gpu::from_env();
    let trials = vec![
        Trial::test("evaluation", evaluation),
        Trial::test("flips", flips),
        Trial::test("crops", crops),
        Trial::test("holes", holes),
        Trial::test("repeatable/oracle", || repeatable(&Oracle32)),
        Trial::test("repeatable/cpu", || repeatable(&planned::executor())),
        gpu.trial("repeatable/gpu", |device| repeatable(&planned::on(device))),
        Trial::test("model/cpu", || model(&Device::cpu())),
        gpu.trial("model/gpu", model),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
