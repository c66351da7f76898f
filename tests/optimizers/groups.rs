//! Groups of parameters with rules of their own, and rules that need whole matrices.

use gradus::prelude::*;
use libtest_mimic::Failed;

use super::{SIZES, STEPS, batch, model, stored};

/// Parameters and states after some steps with gradients that do not depend on them.
fn trained(device: &Device, optimizer: impl Optimizer + 'static) -> Result<[Vec<f32>; 2], Failed> {
    let name = format!("{optimizer:?}");
    let mut model = model(device, optimizer, SIZES, stored)?;
    let found = model.verify()?;
    if !found.passed() {
        return Err(format!("{name}: {found}").into());
    }
    for k in 0..STEPS {
        model.step(&batch(k + 1, SIZES).0)?;
    }
    let read = |model: &mut Model, name| -> Result<Vec<f32>, Failed> {
        Ok(model.parameter(name)?.as_f32()?.to_vec())
    };
    Ok([read(&mut model, "a")?, read(&mut model, "b")?])
}

fn near(what: &str, found: &[f32], want: &[f32]) -> Result<(), Failed> {
    let far = found
        .iter()
        .zip(want)
        .position(|(f, w)| (f - w).abs() > 2e-6 * w.abs().max(1.0));
    match far {
        Some(i) => Err(format!("{what}[{i}]: {}, not {}", found[i], want[i]).into()),
        None => Ok(()),
    }
}

/// Each parameter is what it would be if all had its rule.
fn each_by_its_own<A, B>(device: &Device, a: A, b: B) -> Result<(), Failed>
where
    A: Optimizer + Clone + 'static,
    B: Optimizer + Clone + 'static,
{
    let what = format!("{a:?} and {b:?}");
    let want = [
        trained(device, a.clone())?[0].clone(),
        trained(device, b.clone())?[1].clone(),
    ];
    let groups = Groups::new(a).group(params("b"), b);
    for found in [
        trained(device, groups.clone())?,
        trained(device, groups.clone().ema(0.9))?,
        trained(device, groups.schedule(()))?,
    ] {
        near(&format!("a of {what}"), &found[0], &want[0])?;
        near(&format!("b of {what}"), &found[1], &want[1])?;
    }
    Ok(())
}

pub(crate) fn groups(device: &Device) -> Result<(), Failed> {
    let adamw = AdamW::new(0.02).weight_decay(0.3);
    each_by_its_own(device, adamw.clone(), adamw.clone().weight_decay(0.0))?;
    each_by_its_own(device, adamw.clone(), AdamW::new(0.1))?;
    each_by_its_own(device, Adam::new(0.02), Sgd::new(0.1).momentum(0.9))?;
    each_by_its_own(device, Adagrad::new(0.1), Lion::new(0.01))?;
    let lamb = Lamb::new(0.02);
    each_by_its_own(device, lamb.clone().weight_decay(0.2), lamb.clone())?;
    each_by_its_own(device, adamw.clone(), lamb)?;
    let falling = Sgd::new(0.1).schedule(schedule::Exponential::steps(0.5));
    each_by_its_own(device, falling, Sgd::new(0.1))?;
    // A schedule around groups changes each.
    let half = || schedule::Constant::steps(0.5, 100);
    let both = Groups::new(Sgd::new(0.2)).group(params("b"), Adam::new(0.1));
    let found = trained(device, both.clone().schedule(half()))?;
    near("a", &found[0], &trained(device, Sgd::new(0.1))?[0])?;
    near("b", &found[1], &trained(device, Adam::new(0.05))?[1])?;
    // One kernel, as without groups.
    let kernels = model(device, both, SIZES, stored)?.plan().kernels.len();
    assert_eq!(
        kernels,
        model(device, Adam::new(0.1), SIZES, stored)?
            .plan()
            .kernels
            .len()
    );
    Ok(())
}

fn network(
    device: &Device,
    optimizer: impl Optimizer + 'static,
) -> Result<(Model, Dataset), gradus::Error> {
    let data = datasets::digits().take(96)?;
    let settings = Compile::for_data(&data)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(optimizer)
        .clip_norm(5.0)
        .batch(32)
        .seed(3);
    let net = Sequential::new()
        .dense(24)
        .relu()
        .dense(33)
        .relu()
        .dense(10);
    Ok((net.compile(settings)?, data))
}

/// Biases are as without decay, weights as with it.
pub(crate) fn no_decay(device: &Device) -> Result<(), Failed> {
    let adamw = AdamW::new(0.02).weight_decay(2.0);
    let mut found = network(device, adamw.clone().no_decay_of_vectors())?;
    let mut decayed = network(device, adamw.clone())?;
    let mut kept = network(device, adamw.weight_decay(0.0))?;
    let rows: Vec<u32> = (0..32).collect();
    for (model, data) in [&mut found, &mut decayed, &mut kept] {
        // Biases begin at 0, which does not decay.
        let ones = Array::new([24], vec![1f32; 24])?;
        model.set_parameter("0.bias", &ones)?;
        model.step(&data.gather(&rows)?)?;
    }
    for (name, like) in [("0.weight", &mut decayed), ("0.bias", &mut kept)] {
        let want = like.0.parameter(name)?;
        near(name, found.0.parameter(name)?.as_f32()?, want.as_f32()?)?;
    }
    Ok(())
}

/// Matrices by Muon, the head and all biases by AdamW: sound, and it learns.
pub(crate) fn muon(device: &Device) -> Result<(), Failed> {
    let muon = Muon::new(0.02).rest(params("4."), AdamW::new(3e-3));
    let (mut model, data) = network(device, muon.schedule(Cosine::steps(60)))?;
    model.plan().check()?;
    let count = |label: &str| {
        let kernels = model.plan().kernels.iter();
        kernels.filter(|k| k.label == label).count()
    };
    assert_eq!([count("optimizer/update"), count("optimizer/step")], [1, 2]);
    let found = model.verify()?;
    if !found.passed() {
        return Err(found.to_string().into());
    }
    let before = model.evaluate(&data)?.loss();
    model.fit(&data, Fit::epochs(20).quiet())?;
    let after = model.evaluate(&data)?.loss();
    assert!(after < 0.5 * before, "{before} {after}");
    Ok(())
}

/// What cannot be compiled says why.
pub(crate) fn mistakes(device: &Device) -> Result<(), Failed> {
    fn says(found: Result<(Model, Dataset), gradus::Error>, what: &str) -> Result<(), Failed> {
        match found {
            Ok(_) => Err(format!("was built, without {what}").into()),
            Err(error) => {
                let text = format!("{:#}", anyhow::Error::from(error));
                match text.contains(what) {
                    true => Ok(()),
                    false => Err(format!("{text} does not say {what}").into()),
                }
            }
        }
    }
    says(
        network(device, Muon::new(0.02)),
        "needs matrices, found [24]",
    )?;
    let muon = || Muon::new(0.02).rest(params("4."), AdamW::new(3e-3));
    says(
        network(device, muon().ema(0.9)),
        "updated as whole matrices",
    )?;
    let groups = Groups::new(Sgd::new(0.1)).group(params("0."), muon());
    says(network(device, groups), "groups of its own")?;
    let many = (0..12).fold(Groups::new(Adam::new(0.1)), |groups, i| {
        groups.group(params(&format!("{i}.")), AdamW::new(0.1))
    });
    says(network(device, many), "room for 56")?;
    let start = Adagrad::new(0.1).initial_accumulator_value(0.5);
    let groups = Groups::new(Adagrad::new(0.1)).group(params("0."), start);
    says(network(device, groups), "`sum` starts differently")?;
    says(network(device, Lion::new(-1.0)), "learning rate")?;
    says(
        network(device, NAdam::new(0.1).momentum_decay(-1.0)),
        "momentum decay",
    )?;
    says(network(device, RAdam::new(0.1).betas(0.9, 1.0)), "beta2")?;
    says(network(device, Adamax::new(0.1).eps(0.0)), "eps")?;
    says(network(device, Adadelta::new(0.1).rho(1.5)), "rho")?;
    says(network(device, Muon::new(0.1).iterations(0)), "iterations")
}
