//! `verify` passes for sound models on every device, and names what was broken on purpose.

use gradus::graph::ops::{Composite, Meta, Unary};
use gradus::graph::plan::{KernelKind, Plan};
use gradus::graph::{Data, Expr};
use gradus::prelude::*;
use gradus::train::Verification;
use libtest_mimic::{Arguments, Failed};
use support::gpu::{Check, Gpu};

mod support;

fn digits() -> Result<Dataset, Failed> {
    Ok(datasets::digits().take(100)?)
}

fn settings(data: &Dataset, device: &Device) -> Compile {
    Compile::for_data(data)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(1e-2))
        .metric(Accuracy::new())
        .batch(16)
        .seed(3)
}

fn net() -> Sequential {
    Sequential::new().dense(20).relu().dropout(0.2).dense(10)
}

fn passed(found: &Verification) -> Result<(), Failed> {
    if found.passed() {
        Ok(())
    } else {
        Err(found.to_string().into())
    }
}

/// Before and after training; the model stays as it is.
fn a_model(device: &Device) -> Result<(), Failed> {
    let data = digits()?;
    let mut model = net().compile(settings(&data, device))?;
    passed(&model.verify()?)?;
    model.fit(&data, Fit::epochs(2).quiet())?;
    let before = model.digest()?;
    let found = model.verify()?;
    passed(&found)?;
    if model.digest()? != before {
        return Err("`verify` changed the model".into());
    }
    let json = found.to_json();
    for part in [
        "\"device\"",
        "\"kernels\"",
        "\"worst\"",
        "\"one_submit\": true",
    ] {
        if !json.contains(part) {
            return Err(format!("{part} is not in the JSON").into());
        }
    }
    Ok(())
}

fn resident_data_and_clipping(device: &Device) -> Result<(), Failed> {
    let data = digits()?;
    let settings = settings(&data, device).resident(true).clip_norm(0.5);
    let sgd = Sgd::new(0.1).momentum(0.9).nesterov().weight_decay(1e-3);
    passed(&net().compile(settings.clone().optimizer(sgd))?.verify()?)?;
    passed(
        &net()
            .compile(settings.optimizer(AdamW::new(1e-3)))?
            .verify()?,
    )
}

fn losses_and_activations(device: &Device) -> Result<(), Failed> {
    let x: Vec<f32> = (0..120u8).map(|i| f32::from(i % 17) / 9.0 - 1.0).collect();
    let y: Vec<f32> = (0..80u8).map(|i| f32::from(i % 2)).collect();
    let data = Dataset::from_arrays(Array::new([40, 3], x)?, Array::new([40, 2], y)?)?;
    let smooth = Sequential::new()
        .dense(7)
        .gelu()
        .dense(5)
        .tanh()
        .dense(4)
        .silu();
    let kinked = Sequential::new()
        .dense(9)
        .leaky_relu(0.1)
        .dense(9)
        .elu(1.0)
        .dense(5)
        .softplus();
    let bce = BceWithLogits::new().pos_weight([2.0, 0.5]);
    let mut mse = smooth
        .dense(2)
        .compile(settings(&data, device).loss(Mse::new()))?;
    passed(&mse.verify()?)?;
    let mut bce = kinked.dense(2).compile(settings(&data, device).loss(bce))?;
    passed(&bce.verify()?)
}

/// Labels as probabilities, smoothing, weights.
fn soft_labels(device: &Device) -> Result<(), Failed> {
    let data = digits()?;
    let weights: Vec<f32> = (1..11u8).map(f32::from).collect();
    let loss = CrossEntropy::new()
        .label_smoothing(0.1)
        .class_weights(weights);
    passed(
        &net()
            .compile(settings(&data, device).loss(loss))?
            .verify()?,
    )?;
    let (_, x) = data.inputs().next().ok_or("no inputs")?;
    let soft = Data::F32(
        (0..1000u32)
            .map(|i| f32::from((i % 7 == 0) as u8))
            .collect(),
    );
    let data = Dataset::from_arrays(x.clone(), Array::new([100, 10], soft)?)?;
    passed(&net().compile(settings(&data, device))?.verify()?)
}

/// The widths of the larger examples.
fn wide_layers(device: &Device) -> Result<(), Failed> {
    let pixels: Vec<f32> = (0..64 * 784u32)
        .map(|i| f32::from((i * i % 251) as u8) / 250.0)
        .collect();
    let labels: Vec<i32> = (0..64).map(|i| i % 10).collect();
    let data = Dataset::from_arrays(Array::new([64, 784], pixels)?, Array::vector(labels))?;
    let net = Sequential::new().dense(128).relu().dense(10);
    passed(&net.compile(settings(&data, device).batch(64))?.verify()?)
}

/// Turns the first activation in an epilogue into another function.
fn break_an_epilogue(plan: &mut Plan) {
    let kernels = plan.kernels.iter_mut();
    let products = kernels.filter_map(|kernel| match &mut kernel.kind {
        KernelKind::MatMul(product) => Some(&mut product.epilogue),
        _ => None,
    });
    let mut exprs = products.flat_map(|epilogue| epilogue.exprs.iter_mut());
    let found = exprs.find_map(|expr| match expr {
        Expr::Unary(op @ Unary::Tanh, _) => Some(op),
        _ => None,
    });
    if let Some(op) = found {
        *op = Unary::Sin;
    }
}

fn a_broken_epilogue(device: &Device) -> Result<(), Failed> {
    let data = digits()?;
    let net = Sequential::new().dense(20).tanh().dense(10);
    let settings = settings(&data, device).sabotage(break_an_epilogue);
    named(
        &net.compile(settings)?.verify()?,
        "kernel 0 `1/matmul+add+tanh`",
    )
}

/// `x²` with the gradient of `½x²`.
#[derive(Debug)]
struct BadSquare;

impl Composite for BadSquare {
    fn name(&self) -> &'static str {
        "bad_square"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        inputs
            .first()
            .copied()
            .ok_or_else(|| "expected an input".into())
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        x[0].square()
    }

    fn vjp<'g>(&self, x: &[Var<'g>], _: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        vec![Some(dy * x[0])]
    }
}

fn a_broken_gradient_rule(device: &Device) -> Result<(), Failed> {
    let data = digits()?;
    let net = Sequential::new()
        .dense(12)
        .with(|_, x| x.composite(BadSquare, &[]))
        .dense(10);
    named(
        &net.compile(settings(&data, device))?.verify()?,
        "gradient rule of bad_square in `1`",
    )
}

/// The report fails, and the first failure begins so.
fn named(found: &Verification, name: &str) -> Result<(), Failed> {
    match found.failures().first() {
        Some(first) if first.starts_with(name) && !found.passed() => Ok(()),
        _ => Err(format!("`{name}` is not named:\n{found}").into()),
    }
}

fn main() {
    let gpu = Gpu::from_env();
    let checks: [(&str, Check); 7] = [
        ("a model", a_model),
        ("resident data and clipping", resident_data_and_clipping),
        ("losses and activations", losses_and_activations),
        ("soft labels", soft_labels),
        ("wide layers", wide_layers),
        ("a broken epilogue", a_broken_epilogue),
        ("a broken gradient rule", a_broken_gradient_rule),
    ];
    let mut trials = Vec::new();
    for (name, check) in checks {
        trials.extend(gpu.both(name, check));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
