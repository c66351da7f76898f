//! A Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028) of the
//! digits: the critic's loss holds a gradient. Writes `wgan_gp.png`.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::graph::grad;
use gradus::prelude::*;

#[path = "shared/mod.rs"]
mod shared;

pub(crate) const LATENT: usize = 16;
pub(crate) const BATCH: usize = 64;
pub(crate) const EPOCHS: usize = 250;
/// Batches of the digits that are trained on.
const STEPS: u32 = 23 * EPOCHS as u32;
/// Steps of the critic for one of the generator.
const CRITIC_STEPS: u64 = 2;

fn generator() -> Sequential {
    shared::generator(32)
}

/// Without batch normalization: the penalty is about each sample's own gradient.
fn critic() -> Sequential {
    Sequential::new()
        .layer(Conv2d::new(32, 4).stride(2).padding(1))
        .leaky_relu(0.2)
        .layer(Conv2d::new(64, 4).stride(2).padding(1))
        .leaky_relu(0.2)
        .flatten()
        .dense(1)
}

fn critic_loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let get = |name| inputs.get(scope.graph(), name);
    let real = get("real");
    let fake = scope.apply("gen", &generator(), get("z")).stop_gradient();
    let score = |x| scope.apply("critic", &critic(), x);
    let share = scope.uniform([real.dim(0), 1, 1, 1]);
    let between = real * share + fake * (-share + 1.0);
    let slope = grad(score(between).sum_all(), &[between])[0];
    let norm = (slope.square().sum(&[1, 2, 3]) + 1e-12).sqrt();
    let penalty = (norm - 1.0).square().mean_all();
    let distance = score(real).mean_all() - score(fake).mean_all();
    Vars::new()
        .with("loss", penalty * 10.0 - distance)
        .with("distance", distance)
}

fn generator_loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let fake = scope.apply("gen", &generator(), inputs.get(scope.graph(), "z"));
    (-scope.apply("critic", &critic(), fake).mean_all()).into()
}

/// Predicts images of noise `z`; the steps `critic` and `gen` train.
pub(crate) fn model(device: Device, seed: u64) -> Result<Model, gradus::Error> {
    let net = Functional::new(|scope, inputs| {
        let z = inputs.get(scope.graph(), "z");
        scope.apply("gen", &generator(), z).into()
    });
    let settings = Compile::new().input("z", LATENT, DType::F32).device(device);
    let mut model = net.compile(settings.batch(BATCH).seed(seed))?;
    // Smaller steps in the end: the two circle less about each other.
    let adam = |steps| {
        Adam::new(1e-3)
            .betas(0.5, 0.9)
            .schedule(Cosine::steps(steps))
    };
    model.define_step("critic", |s| {
        s.input("z", LATENT, DType::F32)
            .input("real", [1, 8, 8], DType::F32)
            .minimize(critic_loss, params("critic."), adam(STEPS))
    })?;
    model.define_step("gen", |s| {
        s.input("z", LATENT, DType::F32).minimize(
            generator_loss,
            params("gen."),
            adam(STEPS / CRITIC_STEPS as u32),
        )
    })?;
    Ok(model)
}

/// One epoch; how far apart the critic last saw digits and what the generator makes.
pub(crate) fn epoch(model: &mut Model, data: &Dataset, epoch: u32) -> anyhow::Result<f64> {
    let mut distance = f64::NAN;
    for (indices, i) in data.order(7, epoch).batches(BATCH)?.zip(1u64..) {
        let batch = data.gather(indices)?;
        let real = batch.get("x").ok_or_else(|| anyhow::anyhow!("no images"))?;
        let z = shared::noise(indices.len(), LATENT, model.steps())?;
        let z = Batch::new().with("z", z);
        let ticket = model.run("critic", &z.clone().with("real", real.clone()))?;
        distance = model.wait(ticket)?.get("distance").unwrap_or(f64::NAN);
        if i % CRITIC_STEPS == 0 {
            model.run("gen", &z)?;
        }
    }
    Ok(distance)
}

fn main() -> anyhow::Result<()> {
    let (train, _) = shared::digits()?;
    let mut model = model(Device::best()?, 7)?;
    for i in 0..shared::epochs(EPOCHS)? {
        let distance = epoch(&mut model, &train, u32::try_from(i)?)?;
        println!("epoch {}: distance {distance:.3}", i + 1);
    }
    let samples = model.predict(&shared::noise(64, LATENT, 0)?)?;
    shared::save_grid("wgan_gp.png", &samples, 8)
}
