//! Training with activations stored as bfloat16: sound on every device, as good as with `f32`, and
//! in less memory.

use gradus::prelude::*;
use libtest_mimic::{Arguments, Failed, Trial};
use support::gpu::{Check, Gpu};
use support::tasks::{digits, gpt, sequences, settings};

mod support;

fn mlp() -> Sequential {
    Sequential::new().dense(64).relu().dropout(0.1).dense(10)
}

fn cnn() -> Sequential {
    Sequential::new()
        .layer(Conv2d::new(8, 3).padding(1))
        .batch_norm()
        .relu()
        .max_pool(2)
        .layer(Conv2d::new(12, 3).padding(1))
        .relu()
        .flatten()
        .dense(10)
}

/// The loss after training.
fn trained<N: Network + 'static>(
    net: N,
    data: &Dataset,
    epochs: usize,
    settings: Compile,
) -> Result<f64, Failed> {
    let mut model = net.compile(settings)?;
    model.fit(data, Fit::epochs(epochs).quiet())?;
    Ok(model.evaluate(data)?.loss())
}

fn compare<N: Network + 'static>(
    net: impl Fn() -> N,
    data: &Dataset,
    epochs: usize,
    device: &Device,
) -> Result<(), Failed> {
    let exact = trained(net(), data, epochs, settings(data, device))?;
    let packed = settings(data, device).storage(Storage::Bf16);
    comes_near(&net, data, epochs, (exact, packed.clone()))?;
    comes_near(&net, data, epochs, (exact, packed.weights(Storage::Bf16)))
}

/// Verifies, and learns as much as without rounding.
fn comes_near<N: Network + 'static>(
    net: impl Fn() -> N,
    data: &Dataset,
    epochs: usize,
    (exact, packed): (f64, Compile),
) -> Result<(), Failed> {
    let sound = net().compile(packed.clone())?.verify()?;
    if !sound.passed() {
        return Err(sound.to_string().into());
    }
    let start = net().compile(packed.clone())?.evaluate(data)?.loss();
    let packed = trained(net(), data, epochs, packed)?;
    // Of what was learned: what is left at the end is small.
    if (packed - exact).abs() > 0.03 * start || exact > 0.5 * start || packed == exact {
        return Err(format!("loss {start} → {exact} as f32, {packed} as bf16").into());
    }
    Ok(())
}

fn trains_mlp(device: &Device) -> Result<(), Failed> {
    compare(mlp, &digits()?, 4, device)
}

fn trains_cnn(device: &Device) -> Result<(), Failed> {
    let images = digits()?.reshape_features([1, 8, 8])?;
    compare(cnn, &images, 3, device)
}

fn trains_gpt(device: &Device) -> Result<(), Failed> {
    compare(gpt, &sequences()?, 12, device)
}

/// The step takes less memory, and no more kernels.
fn takes_less_memory() -> Result<(), Failed> {
    let device = Device::cpu();
    let net = || {
        let net = Sequential::new().dense(512).gelu().dense(512).gelu();
        net.dense(512).gelu().dense(10)
    };
    let data = digits()?;
    let plan = |storage| -> Result<_, Failed> {
        let settings = settings(&data, &device).batch(256).storage(storage);
        let model = net().compile(settings)?;
        model.plan().check()?;
        Ok(model.plan().bill.clone())
    };
    let (exact, packed) = (plan(Storage::F32)?, plan(Storage::Bf16)?);
    let kernels = packed.dispatches <= exact.dispatches;
    let bytes = packed.transient * 100 <= exact.transient * 67;
    if kernels && bytes && packed.bytes < exact.bytes {
        return Ok(());
    }
    Err(format!("f32: {exact:?}\nbf16: {packed:?}").into())
}

/// A step of the program's own is asked by itself; one without gradients stores nothing.
fn own_steps(device: &Device) -> Result<(), Failed> {
    let data = digits()?;
    let mut model = mlp().compile(settings(&data, device))?;
    fn loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
        let x = inputs.get(scope.graph(), "x");
        mlp().forward(scope, x).square().mean_all().into()
    }
    model.define_step("shrink", |s| {
        let step = s.input("x", 64, DType::F32);
        step.minimize(loss, params(""), Sgd::new(1e-2))
            .storage(Storage::Bf16)
    })?;
    let packs = |plan: &gradus::graph::Plan| plan.values.iter().any(|v| v.packed);
    if packs(model.plan()) || !packs(&*model.plan_of("shrink")?) {
        return Err("the wrong step stores bf16".into());
    }
    let refused = model.define_step("only computes", |s| {
        let step = s.input("x", 64, DType::F32);
        step.compute(loss).storage(Storage::Bf16)
    });
    match refused {
        Err(error) if error.to_string().contains("has no backward pass") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn main() {
    let gpu = Gpu::from_env();
    let checks: [(&str, Check); 4] = [
        ("mlp", trains_mlp),
        ("cnn", trains_cnn),
        ("gpt", trains_gpt),
        ("own steps", own_steps),
    ];
    let mut trials = Vec::new();
    for (name, check) in checks {
        trials.extend(gpu.both(name, check));
    }
    trials.push(Trial::test("takes less memory", takes_less_memory));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
