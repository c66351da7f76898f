//! A variational autoencoder (Kingma & Welling 2013, arXiv:1312.6114) of the digits: a step of
//! its own, whose noise is drawn on the device. Writes `vae.png`: digits that nobody wrote.
#![allow(clippy::print_stdout, reason = "an example prints")]

use gradus::prelude::*;

#[path = "shared/mod.rs"]
mod shared;

pub(crate) const LATENT: usize = 8;
pub(crate) const BATCH: usize = 32;
pub(crate) const EPOCHS: usize = 100;
/// Batches of the digits that are trained on.
const STEPS: u32 = 45 * EPOCHS as u32;

/// Images to mean and logarithm of the variance of each latent number, side by side.
fn encoder() -> Sequential {
    Sequential::new()
        .layer(Conv2d::new(32, 4).stride(2).padding(1))
        .relu()
        .layer(Conv2d::new(64, 4).stride(2).padding(1))
        .relu()
        .flatten()
        .dense(2 * LATENT)
}

/// Latent numbers to the logits of pixels.
fn decoder() -> Sequential {
    Sequential::new()
        .dense(64 * 2 * 2)
        .relu()
        .with(|_, x| x.reshape([x.dim(0), 64, 2, 2]))
        .layer(ConvTranspose2d::new(32, 4).stride(2).padding(1))
        .relu()
        .layer(ConvTranspose2d::new(1, 4).stride(2).padding(1))
}

/// Standard normal numbers by Box and Muller, new at every step.
fn normal<'g>(scope: &Scope<'g>, shape: [usize; 2]) -> Var<'g> {
    let radius = (-(-scope.uniform(shape) + 1.0).log() * 2.0).sqrt();
    radius * (scope.uniform(shape) * std::f64::consts::TAU).cos()
}

/// The negative evidence lower bound, a sample's mean, and its two parts.
fn loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let x = inputs.get(scope.graph(), "x");
    let code = scope.apply("enc", &encoder(), x);
    let mean = code.slice_axis(1, 0, LATENT);
    let log_var = code.slice_axis(1, LATENT, 2 * LATENT);
    let z = mean + (log_var * 0.5).exp() * normal(scope, [x.dim(0), LATENT]);
    let logits = scope.apply("dec", &decoder(), z);
    let pixels = x.shape()[1..].iter().product::<usize>() as f64;
    let reconstruction = BceWithLogits::new().forward(scope, logits, x) * pixels;
    let divergence = (mean.square() + log_var.exp() - log_var - 1.0) * 0.5;
    let divergence = divergence.sum(&[1]).mean_all();
    Vars::new()
        .with("loss", reconstruction + divergence)
        .with("reconstruction", reconstruction)
        .with("divergence", divergence)
}

/// Smaller steps in the end: what is learned settles.
fn optimizer() -> impl Optimizer + 'static {
    Adam::new(2e-3).schedule(Cosine::steps(STEPS))
}

/// The images `x` again, from the means of their latent numbers.
fn reconstruct<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let code = scope.apply("enc", &encoder(), inputs.get(scope.graph(), "x"));
    let logits = scope.apply("dec", &decoder(), code.slice_axis(1, 0, LATENT));
    Vars::new().with("image", logits.sigmoid())
}

/// Predicts images of latent numbers `z`; the step `learn` trains on images `x`, `reconstruct`
/// gives them back.
pub(crate) fn model(device: Device, seed: u64) -> Result<Model, gradus::Error> {
    let net = Functional::new(|scope, inputs| {
        let z = inputs.get(scope.graph(), "z");
        scope.apply("dec", &decoder(), z).sigmoid().into()
    });
    let settings = Compile::new().input("z", LATENT, DType::F32).device(device);
    let mut model = net.compile(settings.batch(BATCH).seed(seed))?;
    model.define_step("learn", |s| {
        s.input("x", [1, 8, 8], DType::F32)
            .minimize(loss, Params::all(), optimizer())
    })?;
    model.define_step("reconstruct", |s| {
        s.input("x", [1, 8, 8], DType::F32).compute(reconstruct)
    })?;
    Ok(model)
}

/// One epoch; the mean loss of its batches.
pub(crate) fn epoch(model: &mut Model, data: &Dataset, epoch: u32) -> anyhow::Result<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for indices in data.order(7, epoch).batches(BATCH)? {
        let batch = data.gather(indices)?;
        let x = batch.get("x").ok_or_else(|| anyhow::anyhow!("no images"))?;
        let ticket = model.run("learn", &Batch::new().with("x", x.clone()))?;
        sum += model.wait(ticket)?.loss();
        count += 1;
    }
    Ok(sum / f64::from(count))
}

fn main() -> anyhow::Result<()> {
    let (train, _) = shared::digits()?;
    let mut model = model(Device::best()?, 7)?;
    for i in 0..shared::epochs(EPOCHS)? {
        let loss = epoch(&mut model, &train, u32::try_from(i)?)?;
        println!("epoch {}: loss {loss:.3}", i + 1);
    }
    let samples = model.predict(&shared::noise(64, LATENT, 0)?)?;
    shared::save_grid("vae.png", &samples, 8)
}
