//! A generative adversarial network in the manner of DCGAN (Radford et al. 2015,
//! arXiv:1511.06434) of the digits: two steps over the same parameters.
//! Writes `gan.png`: digits that nobody wrote.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::prelude::*;

#[path = "shared/mod.rs"]
mod shared;

pub(crate) const LATENT: usize = 16;
pub(crate) const BATCH: usize = 64;
pub(crate) const EPOCHS: usize = 150;
/// Batches of the digits that are trained on.
const STEPS: u32 = 23 * EPOCHS as u32;

fn generator() -> Sequential {
    shared::generator(64)
}

fn discriminator() -> Sequential {
    Sequential::new()
        .layer(Conv2d::new(64, 4).stride(2).padding(1))
        .leaky_relu(0.2)
        .layer(Conv2d::new(128, 4).stride(2).padding(1).no_bias())
        .batch_norm()
        .leaky_relu(0.2)
        .flatten()
        .dense(1)
}

/// The cross-entropy of the discriminator's logits with `label`.
fn against<'g>(scope: &Scope<'g>, logits: Var<'g>, label: f64) -> Var<'g> {
    let label = scope.graph().full(logits.shape(), label);
    BceWithLogits::new().forward(scope, logits, label)
}

fn discriminator_loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let get = |name| inputs.get(scope.graph(), name);
    let fake = scope.apply("gen", &generator(), get("z")).stop_gradient();
    let judge = |x| scope.apply("disc", &discriminator(), x);
    // Labels that are less sure than 1 keep the discriminator from certainty.
    (against(scope, judge(get("real")), 0.9) + against(scope, judge(fake), 0.0)).into()
}

fn generator_loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let fake = scope.apply("gen", &generator(), inputs.get(scope.graph(), "z"));
    against(scope, scope.apply("disc", &discriminator(), fake), 1.0).into()
}

/// Predicts images of noise `z`; the steps `disc` and `gen` train.
pub(crate) fn model(device: Device, seed: u64) -> Result<Model, gradus::Error> {
    let net = Functional::new(|scope, inputs| {
        let z = inputs.get(scope.graph(), "z");
        scope.apply("gen", &generator(), z).into()
    });
    let settings = Compile::new().input("z", LATENT, DType::F32).device(device);
    let mut model = net.compile(settings.batch(BATCH).seed(seed))?;
    // Smaller steps in the end: the two circle less about each other.
    let adam = || {
        Adam::new(1e-3)
            .betas(0.5, 0.999)
            .schedule(Cosine::steps(STEPS))
    };
    model.define_step("disc", |s| {
        s.input("z", LATENT, DType::F32)
            .input("real", [1, 8, 8], DType::F32)
            .minimize(discriminator_loss, params("disc."), adam())
    })?;
    model.define_step("gen", |s| {
        s.input("z", LATENT, DType::F32)
            .minimize(generator_loss, params("gen."), adam())
    })?;
    Ok(model)
}

/// One epoch; the last losses of discriminator and generator.
pub(crate) fn epoch(model: &mut Model, data: &Dataset, epoch: u32) -> anyhow::Result<[f64; 2]> {
    let mut losses = [f64::NAN; 2];
    for indices in data.order(7, epoch).batches(BATCH)? {
        let batch = data.gather(indices)?;
        let real = batch.get("x").ok_or_else(|| anyhow::anyhow!("no images"))?;
        let noise = || shared::noise(indices.len(), LATENT, model.steps());
        let z = Batch::new().with("z", noise()?);
        let disc = model.run("disc", &z.clone().with("real", real.clone()))?;
        let make = model.run("gen", &z)?;
        losses = [model.wait(disc)?.loss(), model.wait(make)?.loss()];
    }
    Ok(losses)
}

fn main() -> anyhow::Result<()> {
    let (train, _) = shared::digits()?;
    let mut model = model(Device::best()?, 7)?;
    for i in 0..shared::epochs(EPOCHS)? {
        let [disc, make] = epoch(&mut model, &train, u32::try_from(i)?)?;
        println!(
            "epoch {}: discriminator {disc:.3}, generator {make:.3}",
            i + 1
        );
    }
    let samples = model.predict(&shared::noise(64, LATENT, 0)?)?;
    shared::save_grid("gan.png", &samples, 8)
}
