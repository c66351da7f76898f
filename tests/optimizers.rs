//! Optimizers and schedules on devices against their formulas, element by element in f64.
#![allow(clippy::unwrap_used, reason = "a broken test may end in a panic")]

use gradus::graph::philox::{Rng, stream};
use gradus::prelude::*;
use libtest_mimic::{Arguments, Failed};
use support::gpu::{Check, Gpu};

#[path = "optimizers/accumulate.rs"]
mod accumulate;
#[path = "optimizers/groups.rs"]
mod groups;
#[path = "optimizers/sparse.rs"]
mod sparse;
mod support;

const F32: DType = DType::F32;
/// Elements of each of the two parameters: more than a block of 64, and fewer.
const SIZES: [usize; 2] = [130, 3];
const STEPS: usize = 7;

/// First values of a parameter.
#[derive(Clone, Debug)]
struct Stored(Vec<f32>);

impl Init for Stored {
    fn sample(&self, _: &gradus::graph::Shape, _: &mut Rng) -> Vec<f32> {
        self.0.clone()
    }
}

fn values(name: &str, k: usize, n: usize) -> Vec<f32> {
    let mut rng = Rng::new(k as u64, stream(name, 0));
    (0..n).map(|_| (rng.uniform() * 4.0 - 2.0) as f32).collect()
}

fn stored(i: usize) -> Vec<f32> {
    values(["a", "b"][i], 0, SIZES[i])
}

/// A model whose gradients are its inputs.
fn model(
    device: &Device,
    optimizer: impl Optimizer + 'static,
    sizes: [usize; 2],
    first: impl Fn(usize) -> Vec<f32> + Send + Sync + 'static,
) -> Result<Model, Failed> {
    let net = Functional::new(move |scope, inputs| {
        let term = |i: usize| {
            let param = scope.param(["a", "b"][i], sizes[i], Stored(first(i)));
            (param * inputs.get(scope.graph(), ["ga", "gb"][i])).sum(&[1])
        };
        (term(0) + term(1)).into()
    });
    let settings = Compile::new()
        .input("ga", sizes[0], F32)
        .input("gb", sizes[1], F32)
        .target((), F32)
        .loss(Difference)
        .optimizer(optimizer)
        .device(device.clone())
        .batch(1);
    Ok(net.compile(settings)?)
}

/// The prediction itself, less the target.
#[derive(Debug)]
struct Difference;

impl Loss for Difference {
    fn forward<'g>(&self, _: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        (prediction - target).sum_all()
    }
}

fn batch(k: usize, sizes: [usize; 2]) -> (Batch, [Vec<f32>; 2]) {
    let gradients = [values("ga", k, sizes[0]), values("gb", k, sizes[1])];
    let array = |i: usize| Array::new([1, sizes[i]], gradients[i].clone()).unwrap();
    let batch = Batch::new().with("ga", array(0)).with("gb", array(1));
    (
        batch.with("y", Array::new([1], vec![0f32]).unwrap()),
        gradients,
    )
}

/// One element: parameter, gradient and states give the new parameter.
type Rule = fn(t: i32, p: f64, g: f64, states: &mut [f64]) -> f64;

fn follows(
    device: &Device,
    optimizer: impl Optimizer + 'static,
    first: &[f64],
    rule: Rule,
) -> Result<(), Failed> {
    let name = format!("{optimizer:?}");
    let mut model = model(device, optimizer, SIZES, stored)?;
    let found = model.verify()?;
    if !found.passed() {
        return Err(format!("{name}: {found}").into());
    }
    let mut want = ["a", "b"].map(|name| {
        let n = SIZES[usize::from(name == "b")];
        let p = values(name, 0, n).into_iter();
        p.map(|p| (f64::from(p), first.to_vec()))
            .collect::<Vec<_>>()
    });
    for k in 0..STEPS {
        let (batch, gradients) = batch(k + 1, SIZES);
        model.step(&batch)?;
        for (i, param) in ["a", "b"].into_iter().enumerate() {
            let found = model.parameter(param)?;
            let found = found.as_f32().unwrap();
            let elements = want[i].iter_mut().zip(&gradients[i]).zip(found);
            for (j, (((p, states), &g), &found)) in elements.enumerate() {
                *p = rule(k as i32 + 1, *p, f64::from(g), states);
                if (*p - f64::from(found)).abs() > 2e-5 * p.abs().max(1.0) {
                    return Err(format!("{name}: {param}[{j}] after {k}: {found}, not {p}").into());
                }
            }
        }
    }
    Ok(())
}

fn rmsprop(device: &Device) -> Result<(), Failed> {
    let plain = RmsProp::new(0.02).alpha(0.9).eps(1e-3);
    follows(device, plain.clone(), &[0.0], |_, p, g, s| {
        s[0] = 0.9 * s[0] + 0.1 * g * g;
        p - 0.02 * g / (s[0].sqrt() + 1e-3)
    })?;
    let all = plain.momentum(0.8).centered().weight_decay(0.3);
    follows(device, all, &[0.0; 3], |_, p, g, s| {
        let g = g + 0.3 * p;
        s[0] = 0.9 * s[0] + 0.1 * g * g;
        s[1] = 0.9 * s[1] + 0.1 * g;
        s[2] = 0.8 * s[2] + g / ((s[0] - s[1] * s[1]).sqrt() + 1e-3);
        p - 0.02 * s[2]
    })
}

fn adagrad(device: &Device) -> Result<(), Failed> {
    let adagrad = Adagrad::new(0.1).lr_decay(0.5).weight_decay(0.2);
    let adagrad = adagrad.initial_accumulator_value(0.25).eps(1e-6);
    follows(device, adagrad, &[0.25], |t, p, g, s| {
        let g = g + 0.2 * p;
        s[0] += g * g;
        p - 0.1 / (1.0 + f64::from(t - 1) * 0.5) * g / (s[0].sqrt() + 1e-6)
    })
}

/// The rate and the momentum of every step are those of the schedule, with no kernel more.
fn scheduled(device: &Device) -> Result<(), Failed> {
    let sgd = Sgd::new(0.1).momentum(0.9);
    let falling = sgd.clone().schedule(schedule::Exponential::steps(0.5));
    follows(device, falling.clone(), &[0.0], |t, p, g, s| {
        s[0] = 0.9 * s[0] + g;
        p - 0.1 * 0.5f64.powi(t - 1) * s[0]
    })?;
    let count = |model: &Model| model.plan().kernels.len();
    assert_eq!(
        count(&model(device, falling, SIZES, stored)?),
        count(&model(device, sgd, SIZES, stored)?)
    );
    let cycle = OneCycle::steps(7).rise(3.0 / 7.0).linear();
    let adam = Adam::new(0.1).betas(0.9, 0.99).schedule(cycle);
    follows(device, adam, &[0.0; 2], |t, p, g, s| {
        let (rate, b1) = match t {
            1..=3 => {
                let share = f64::from(t - 1) / 2.0;
                (0.004 + 0.096 * share, 0.95 - 0.1 * share)
            }
            _ => {
                let share = f64::from(t - 3) / 4.0;
                (0.1 + (0.004 / 1e4 - 0.1) * share, 0.85 + 0.1 * share)
            }
        };
        s[0] = b1 * s[0] + (1.0 - b1) * g;
        s[1] = 0.99 * s[1] + 0.01 * g * g;
        let corrected = (s[1] / (1.0 - 0.99f64.powi(t))).sqrt();
        p - rate * s[0] / (1.0 - b1.powi(t)) / (corrected + 1e-8)
    })
}

/// Two parameters of LAMB, one of zeros: the ratio is then 1. Norms of whole parameters, large and
/// small, found in as many kernels.
fn lamb(device: &Device) -> Result<(), Failed> {
    for sizes in [[130, 3], [1, 64], [70_000, 65]] {
        let lamb = Lamb::new(0.02).betas(0.9, 0.99).weight_decay(0.1);
        layerwise(device, lamb.clone(), sizes)?;
        layerwise(device, lamb.ema(0.9), sizes)?;
    }
    Ok(())
}

fn layerwise(
    device: &Device,
    optimizer: impl Optimizer + Clone + 'static,
    sizes: [usize; 2],
) -> Result<(), Failed> {
    let first = move |i: usize| match i {
        0 => values("a", 0, sizes[0]),
        _ => vec![0.0; sizes[1]],
    };
    let mut model = model(device, optimizer, sizes, first)?;
    let norms = match sizes.into_iter().max() {
        Some(0..=64) => 0,
        Some(65..=16384) => 1,
        _ => 2,
    };
    let updates = |label: &str| {
        let kernels = model.plan().kernels.iter();
        kernels.filter(|k| k.label == label).count()
    };
    let found = ["optimizer/blocks", "optimizer/norms", "optimizer/update"].map(updates);
    assert_eq!(found, [2, norms, 1], "{:#}", model.plan());
    let found = model.verify()?;
    if !found.passed() {
        return Err(found.to_string().into());
    }
    let start = |i| first(i).into_iter().map(f64::from).collect::<Vec<_>>();
    let mut params = [start(0), start(1)];
    let mut states = sizes.map(|n| vec![[0.0; 2]; n]);
    for k in 0..4 {
        let (batch, gradients) = batch(k + 1, sizes);
        model.step(&batch)?;
        let t = k as i32 + 1;
        for i in 0..2 {
            let direction = |((p, s), &g): ((&f64, &mut [f64; 2]), &f32)| {
                let g = f64::from(g);
                s[0] = 0.9 * s[0] + 0.1 * g;
                s[1] = 0.99 * s[1] + 0.01 * g * g;
                let (m, v) = (
                    s[0] / (1.0 - 0.9f64.powi(t)),
                    s[1] / (1.0 - 0.99f64.powi(t)),
                );
                m / (v.sqrt() + 1e-6) + 0.1 * p
            };
            let elements = params[i].iter().zip(&mut states[i]).zip(&gradients[i]);
            let u: Vec<f64> = elements.map(direction).collect();
            let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let (of_p, of_u) = (norm(&params[i]), norm(&u));
            let ratio = if of_p > 0.0 && of_u > 0.0 {
                of_p / of_u
            } else {
                1.0
            };
            let found = model.parameter(["a", "b"][i])?;
            let found = found.as_f32().unwrap();
            for ((p, u), &found) in params[i].iter_mut().zip(&u).zip(found) {
                *p -= 0.02 * ratio * u;
                if (*p - f64::from(found)).abs() > 2e-5 * p.abs().max(1.0) {
                    return Err(format!("{sizes:?}: {i} after {k}: {found}, not {p}").into());
                }
            }
        }
    }
    Ok(())
}

/// Clipping and LAMB in two runs that leave a parameter between them alone.
fn lamb_in_runs(device: &Device) -> Result<(), Failed> {
    let data = datasets::digits().take(32)?;
    let settings = Compile::for_data(&data)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(Lamb::new(1e-2))
        .clip_norm(0.5)
        .batch(16);
    let net = || Sequential::new().dense(70).relu().dense(9).relu().dense(10);
    let mut model = net().compile(settings)?;
    model.define_step("ends", |s| {
        s.input("x", 64, F32).minimize(
            move |scope, inputs| {
                let y = net().forward(scope, inputs.get(scope.graph(), "x"));
                y.square().mean_all().into()
            },
            params("0.").or(params("4.")),
            Lamb::new(1e-2).ema(0.9),
        )
    })?;
    model.plan_of("ends")?.check()?;
    let found = model.verify()?;
    if !found.passed() {
        return Err(found.to_string().into());
    }
    let before = model.evaluate(&data)?.loss();
    model.fit(&data, Fit::epochs(20).quiet())?;
    assert!(model.evaluate(&data)?.loss() < before);
    Ok(())
}

/// The average is what its formula says; a model is asked and saved with it, and goes on as if
/// nothing had been.
fn average(device: &Device) -> Result<(), Failed> {
    let data = datasets::digits().take(48)?;
    let make = |averaged: bool| {
        let settings = Compile::for_data(&data).device(device.clone()).batch(16);
        let settings = settings.loss(CrossEntropy::new());
        let settings = if averaged {
            settings.optimizer(Adam::new(0.01).ema(0.75))
        } else {
            settings.optimizer(Adam::new(0.01))
        };
        Sequential::new().dense(10).compile(settings)
    };
    let mut model = make(true)?;
    let first = model.parameter("0.weight")?;
    assert_eq!(model.averaged(|m| m.parameter("0.weight"))?, first);
    let mut want: Vec<f64> = Vec::new();
    for (k, indices) in data.order(3, 0).batches(16)?.enumerate() {
        model.step(&data.gather(indices)?)?;
        let now = model.parameter("0.weight")?;
        let now = now.as_f32().unwrap().iter().map(|&p| f64::from(p));
        want = match k {
            0 => now.collect(),
            _ => want
                .iter()
                .zip(now)
                .map(|(a, p)| 0.75 * a + 0.25 * p)
                .collect(),
        };
    }
    let before = model.digest()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("average.safetensors");
    let (found, scores) = model.averaged(|model| {
        model.save(&path)?;
        Ok((model.parameter("0.weight")?, model.evaluate(&data)?))
    })?;
    for (f, w) in found.as_f32().unwrap().iter().zip(&want) {
        assert!((f64::from(*f) - w).abs() < 1e-6, "{f} {w}");
    }
    assert_eq!(model.digest()?, before);
    assert_ne!(model.evaluate(&data)?, scores);
    let refused = model.averaged(|m| m.parameter("none"));
    assert!(refused.is_err());
    assert_eq!(model.digest()?, before);
    assert!(model.verify()?.passed());

    // Another program's file: the averages are its parameters.
    let mut other = make(false)?;
    other.load(&path)?;
    assert_eq!(other.evaluate(&data)?, scores);
    let text = other
        .averaged(|m| m.evaluate(&data))
        .unwrap_err()
        .to_string();
    assert!(text.contains("`.ema(0.999)`"), "{text}");
    Ok(())
}

/// `fit` counts epochs for schedules and shows them the validation loss; both are in the file.
fn plateau_in_fit(device: &Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("plateau.safetensors");
    let data = datasets::digits().take(48)?;
    let make = || {
        // No loss is ever a tenth of the best one, so every second epoch is one too many.
        let plateau = Plateau::new().patience(1).threshold(0.9).factor(0.5);
        let settings = Compile::for_data(&data)
            .device(device.clone())
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(0.01).schedule(plateau))
            .batch(16);
        Sequential::new().dense(10).compile(settings)
    };
    let fit = |epochs| Fit::epochs(epochs).validation_split(0.25).quiet();
    let mut whole = make()?;
    assert_eq!(whole.learning_rate("train")?, Some(0.01));
    assert_eq!(whole.learning_rate("predict")?, None);
    whole.fit(&data, fit(2))?;
    assert_eq!(whole.learning_rate("train")?, Some(0.01));
    whole.save(&path)?;
    whole.fit(&data, fit(3))?;
    assert_eq!(whole.learning_rate("train")?, Some(0.0025));
    let mut resumed = make()?;
    resumed.load(&path)?;
    resumed.fit(&data, fit(3))?;
    assert_eq!(resumed.learning_rate("train")?, Some(0.0025));
    assert_eq!(whole.digest()?, resumed.digest()?);

    let settings = Compile::for_data(&data)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(Sgd::new(0.1).schedule(StepDecay::epochs(2, 0.1)))
        .batch(16);
    let mut stairs = Sequential::new().dense(10).compile(settings.clone())?;
    stairs.fit(&data, Fit::epochs(1).quiet())?;
    stairs.end_epoch(0.0);
    assert!((stairs.learning_rate("train")?.unwrap() - 0.01).abs() < 1e-12);

    let wrong = Sgd::new(0.1).schedule(Cosine::steps(0));
    let error = Sequential::new()
        .dense(10)
        .compile(settings.optimizer(wrong));
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("total must be greater than 0, found 0"),
        "{text}"
    );
    Ok(())
}

/// Settings out of range are errors of `compile` that name the setting and the value.
fn mistakes(device: &Device) -> Result<(), Failed> {
    let refused = |result: Result<Model, Failed>, part: &str| -> Result<(), Failed> {
        let text = match result {
            Ok(_) => "no error".to_owned(),
            Err(error) => error.message().unwrap_or_default().to_owned(),
        };
        if text.contains(part) {
            Ok(())
        } else {
            Err(format!("`{part}` is not in: {text}").into())
        }
    };
    let make = |optimizer: RmsProp| model(device, optimizer, SIZES, stored);
    refused(
        make(RmsProp::new(0.0)),
        "learning rate must be greater than 0, found 0",
    )?;
    refused(
        make(RmsProp::new(0.1).alpha(1.0)),
        "alpha must be at least 0 and below 1",
    )?;
    refused(
        make(RmsProp::new(0.1).momentum(-0.5)),
        "momentum must be 0 or more, found -0.5",
    )?;
    let make = |optimizer: Adagrad| model(device, optimizer, SIZES, stored);
    refused(
        make(Adagrad::new(0.1).lr_decay(-1.0)),
        "lr decay must be 0 or more",
    )?;
    let negative = Adagrad::new(0.1).initial_accumulator_value(-1.0);
    refused(
        make(negative),
        "initial accumulator value must be 0 or more",
    )?;
    let make = |optimizer: Lamb| model(device, optimizer, SIZES, stored);
    refused(make(Lamb::new(0.1).eps(0.0)), "eps must be greater than 0")?;
    refused(
        make(Lamb::new(0.1).betas(0.9, 1.5)),
        "beta2 must be at least 0 and below 1",
    )?;
    let averaged = Sgd::new(0.1).ema(1.0);
    refused(
        model(device, averaged, SIZES, stored),
        "decay must be at least 0 and below 1",
    )
}

fn main() {
    let gpu = Gpu::from_env();
    let checks: [(&str, Check); 16] = [
        ("mistakes", mistakes),
        ("lamb", lamb),
        ("lamb in runs", lamb_in_runs),
        ("average", average),
        ("rmsprop", rmsprop),
        ("adagrad", adagrad),
        ("scheduled", scheduled),
        ("plateau in fit", plateau_in_fit),
        ("groups", groups::groups),
        ("groups without decay", groups::no_decay),
        ("groups and mistakes", groups::mistakes),
        ("muon", groups::muon),
        ("sparse", sparse::verified),
        ("accumulated", accumulate::accumulated),
        ("accumulation interrupted", accumulate::interrupted),
        ("accumulation and mistakes", accumulate::mistakes),
    ];
    let mut trials = Vec::new();
    for (name, check) in checks {
        trials.extend(gpu.both(name, check));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
