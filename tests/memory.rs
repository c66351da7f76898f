//! Training in less memory: what the backward pass computes again changes no result.

use gradus::prelude::*;
use libtest_mimic::{Arguments, Failed};
use support::gpu::{Check, Gpu};
use support::tasks::{self, digits, sequences, settings};

mod support;

fn ensure(holds: bool, found: impl std::fmt::Display) -> Result<(), Failed> {
    match holds {
        true => Ok(()),
        false => Err(found.to_string().into()),
    }
}

/// The loss after training, and all parameters as one number.
fn trained<N: Network + 'static>(
    net: N,
    data: &Dataset,
    settings: Compile,
) -> Result<(f64, String), Failed> {
    let mut model = net.compile(settings)?;
    model.fit(data, Fit::epochs(2).quiet())?;
    Ok((model.evaluate(data)?.loss(), model.digest()?.to_string()))
}

/// The same losses with three quarters and with half of the memory between kernels, or what there is
/// at least, and the same bits in two runs.
fn limited<N: Network + 'static>(
    net: impl Fn() -> N,
    data: &Dataset,
    settings: &Compile,
) -> Result<(), Failed> {
    let bill = net().compile(settings.clone())?.plan().bill.clone();
    let (free, _) = trained(net(), data, settings.clone())?;
    for percent in [75, 50] {
        let limit = bill.memory() - bill.transient * (100 - percent) / 100;
        let settings = settings.clone().memory_limit(limit);
        let mut model = net().compile(settings.clone())?;
        let plan = model.plan();
        let found = plan.bill.memory();
        ensure(found <= limit, format!("{found} of {limit} bytes"))?;
        ensure(plan.recomputed.is_some(), format!("{plan}"))?;
        let sound = model.verify()?;
        ensure(sound.passed(), &sound)?;
        let (loss, digest) = trained(net(), data, settings.clone())?;
        let close = (loss - free).abs() <= 2e-3 * free.abs();
        ensure(close, format!("loss {loss}, and {free} without a limit"))?;
        let again = trained(net(), data, settings)?;
        ensure(again.1 == digest, "two runs differ")?;
    }
    Ok(())
}

fn mlp(device: &Device) -> Result<(), Failed> {
    let net = || {
        let mut net = Sequential::new();
        for _ in 0..9 {
            net = net.dense(48).gelu().dropout(0.1);
        }
        net.dense(10)
    };
    let data = digits()?;
    limited(net, &data, &settings(&data, device).clip_norm(1.0))
}

fn sequence(device: &Device) -> Result<(), Failed> {
    let data = sequences()?;
    limited(tasks::gpt, &data, &settings(&data, device))
}

/// Checkpointed layers have the parameters, results and gradients of the layers, and the states that
/// they keep change once.
fn checkpoints(device: &Device) -> Result<(), Failed> {
    let images = digits()?.reshape_features([1, 8, 8])?;
    let net = |checkpoint: bool| {
        let block = Sequential::new()
            .layer(Conv2d::new(6, 3).padding(1))
            .batch_norm()
            .relu()
            .dropout(0.2)
            .layer(Conv2d::new(6, 3).padding(1))
            .gelu();
        let net = Sequential::new();
        let net = match checkpoint {
            true => net.layer(Checkpoint::new(block)),
            false => net.layer(block),
        };
        net.flatten().dense(10)
    };
    let settings = settings(&images, device);
    let mut models = [net(false), net(true)]
        .map(|net| net.compile(settings.clone()))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let [plain, again] = &mut models[..] else {
        return Err("two models".into());
    };
    ensure(plain.plan().recomputed.is_none(), plain.plan())?;
    ensure(again.plan().recomputed.is_some(), again.plan())?;
    let sound = again.verify()?;
    ensure(sound.passed(), &sound)?;
    for model in [&mut *plain, &mut *again] {
        model.fit(&images, Fit::epochs(1).quiet())?;
    }
    let names = [&plain, &again].map(|model| model.parameter_names().join(" "));
    ensure(names[0] == names[1], names.join("\n"))?;
    let [a, b] = [plain, again].map(|model| model.evaluate(&images));
    let (a, b) = (a?.loss(), b?.loss());
    ensure((a - b).abs() <= 2e-3 * a, format!("losses {a} and {b}"))
}

/// A limit that nothing fits is refused with what would, and so is one for a step without a
/// backward pass.
fn mistakes(device: &Device) -> Result<(), Failed> {
    let data = digits()?;
    let net = || Sequential::new().dense(64).gelu().dense(10);
    let settings = settings(&data, device);
    let refused = net().compile(settings.clone().memory_limit(10_000));
    let text = refused.err().ok_or("10 kB are enough")?.to_string();
    ensure(
        text.contains("step `train` does not fit its memory limit of 10000 bytes"),
        &text,
    )?;
    let least = text.split("takes ").nth(1);
    let least = least.and_then(|rest| rest.split(',').next()?.parse().ok());
    net().compile(settings.clone().memory_limit(least.ok_or(text)?))?;

    let mut model = net().compile(settings)?;
    fn loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
        let net = Sequential::new().dense(64).gelu().dense(10);
        let x = inputs.get(scope.graph(), "x");
        net.forward(scope, x).square().mean_all().into()
    }
    let refused = model.define_step("shrink", |s| {
        let step = s.input("x", 64, DType::F32);
        let step = step.minimize(loss, params(""), Sgd::new(1e-2));
        step.memory_limit(10_000)
    });
    let text = refused.err().ok_or("10 kB are enough")?.to_string();
    ensure(text.contains("step `shrink` does not fit"), &text)?;
    let refused = model.define_step("only computes", |s| {
        let step = s.input("x", 64, DType::F32);
        step.compute(loss).memory_limit(1 << 30)
    });
    let text = refused.err().ok_or("no backward pass")?.to_string();
    ensure(text.contains("has no backward pass"), &text)
}

fn main() {
    let gpu = Gpu::from_env();
    let checks: [(&str, Check); 4] = [
        ("mlp", mlp),
        ("gpt", sequence),
        ("checkpoints", checkpoints),
        ("mistakes", mistakes),
    ];
    let mut trials = Vec::new();
    for (name, check) in checks {
        trials.extend(gpu.both(name, check));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
