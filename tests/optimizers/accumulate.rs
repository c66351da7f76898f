//! Gradients of several steps that are used together.

use gradus::prelude::*;
use libtest_mimic::Failed;

const SAMPLES: usize = 96;

fn network(
    device: &Device,
    optimizer: impl Optimizer + 'static,
    batch: usize,
    resident: bool,
) -> Result<(Model, Dataset), gradus::Error> {
    let data = datasets::digits().take(SAMPLES)?;
    let settings = Compile::for_data(&data)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(optimizer)
        .clip_norm(0.5)
        .batch(batch)
        .resident(resident)
        .seed(3);
    let net = Sequential::new().dense(24).tanh().dense(10);
    Ok((net.compile(settings)?, data))
}

/// Four steps of eight samples are one of 32, clipping, schedule and corrections included.
pub(crate) fn accumulated(device: &Device) -> Result<(), Failed> {
    let falling = || schedule::Exponential::steps(0.7);
    four(device, Adam::new(0.01).schedule(falling()))?;
    four(device, Sgd::new(0.1).momentum(0.9).ema(0.8))?;
    four(device, Lamb::new(0.01))?;
    four(
        device,
        AdamW::new(0.01).weight_decay(0.5).no_decay_of_vectors(),
    )?;
    four(device, Muon::new(0.02).rest(params("2."), Adam::new(0.01)))
}

fn four(device: &Device, optimizer: impl Optimizer + Clone + 'static) -> Result<(), Failed> {
    let what = format!("{optimizer:?}");
    let (mut large, data) = network(device, optimizer.clone(), 32, false)?;
    large.fit(&data, Fit::epochs(2).in_order().quiet())?;
    for resident in [false, true] {
        let (mut small, _) = network(device, optimizer.clone().accumulate(4), 8, resident)?;
        small.plan().check()?;
        let found = small.verify()?;
        if !found.passed() {
            return Err(format!("{what}: {found}").into());
        }
        small.fit(&data, Fit::epochs(2).in_order().quiet())?;
        // Half a round more changes no parameter.
        let rows: Vec<u32> = (0..8).collect();
        small.step(&data.gather(&rows)?)?;
        for name in ["0.weight", "0.bias", "2.weight", "2.bias"] {
            let (found, want) = (small.parameter(name)?, large.parameter(name)?);
            let pairs = found.as_f32()?.iter().zip(want.as_f32()?);
            let off = pairs.map(|(f, w)| (f - w).abs()).fold(0.0, f32::max);
            if off > 2e-4 {
                return Err(format!("{what}: {name} is off by {off}").into());
            }
        }
        assert_eq!(small.learning_rate("train")?, large.learning_rate("train")?);
    }
    Ok(())
}

/// A round that was interrupted goes on with the same bits.
pub(crate) fn interrupted(device: &Device) -> Result<(), Failed> {
    let make = || network(device, Adam::new(0.01).accumulate(3), 8, false);
    let (mut whole, data) = make()?;
    let step = |model: &mut Model, k: u32| -> Result<(), Failed> {
        let rows: Vec<u32> = (8 * k..8 * k + 8).collect();
        model.step(&data.gather(&rows)?)?;
        Ok(())
    };
    (0..6).try_for_each(|k| step(&mut whole, k))?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("round.safetensors");
    let (mut first, _) = make()?;
    (0..4).try_for_each(|k| step(&mut first, k))?;
    first.save(&path)?;
    let (mut second, _) = make()?;
    second.load(&path)?;
    (4..6).try_for_each(|k| step(&mut second, k))?;
    assert_eq!(second.digest()?, whole.digest()?);
    Ok(())
}

pub(crate) fn mistakes(device: &Device) -> Result<(), Failed> {
    let says = |found: Result<(Model, Dataset), gradus::Error>, what: &str| match found {
        Ok(_) => Err(Failed::from("was built")),
        Err(error) => {
            let text = format!("{:#}", anyhow::Error::from(error));
            match text.contains(what) {
                true => Ok(()),
                false => Err(format!("{text} does not say {what}").into()),
            }
        }
    };
    let adam = || Adam::new(0.1);
    says(
        network(device, adam().accumulate(0), 8, false),
        "steps must be greater",
    )?;
    says(
        network(device, adam().accumulate(2).ema(0.9), 8, false),
        "comes last",
    )?;
    says(
        network(device, adam().accumulate(2).accumulate(2), 8, false),
        "twice",
    )
}
