//! How good images are that nobody wrote: beside the digits that they are to be like.

use gradus::prelude::*;
use libtest_mimic::Failed;

use super::{cnn, ensure, reads_digits, shared};

/// Neighbours that make up a real image's surroundings.
const NEAREST: usize = 5;

/// What is asked of images.
pub(crate) struct Wanted {
    /// The mean of the largest probability that a classifier of real digits gives.
    pub(crate) sureness: f64,
    /// The share of the rarest digit, as the classifier sees them.
    pub(crate) rarest: f64,
    /// The share of real images with one of these among their surroundings.
    pub(crate) coverage: f64,
    /// In how many surroundings of real images one of these lies, in units of [`NEAREST`]: real
    /// images lie in 1.
    pub(crate) density: f64,
    /// By which share brightness and its variance may be off.
    pub(crate) moments: f64,
}

/// Compares `images` with the digits; their brightness and its variance with those of `like`.
///
/// Coverage and density are those of Naeem et al. (2020), arXiv:2002.09797, of pixels.
pub(crate) fn alike(
    device: &Device,
    images: &Array,
    like: &Array,
    wanted: &Wanted,
) -> Result<(), Failed> {
    let train = shared::digits()?.0;
    let mut judge = reads_digits(cnn::model(device.clone(), &train)?, 20)?;
    let sure = judge.predict_proba(images)?;
    let rows = sure.as_f32()?.chunks(10);
    let most = rows.map(|row| row.iter().copied().fold(0.0, f32::max));
    let count = images.shape()[0];
    let sureness = f64::from(most.sum::<f32>()) / count as f64;
    let mut counts = [0usize; 10];
    for class in judge.predict_classes(images)? {
        counts[usize::try_from(class)?] += 1;
    }
    let rarest = counts.into_iter().min().unwrap_or(0) as f64 / count as f64;
    let (_, real) = train.inputs().next().ok_or("no images")?;
    let (coverage, density) = coverage(real, images)?;
    let (found, want) = (moments(images)?, moments(like)?);
    eprintln!(
        "sureness {sureness:.3}, classes {counts:?}, coverage {coverage:.3}, density {density:.3}, \
         moments {found:.3?}, wanted {want:.3?}"
    );
    let mut near = found.iter().zip(want).map(|(f, w)| (f / w - 1.0).abs());
    ensure(
        sureness >= wanted.sureness
            && rarest >= wanted.rarest
            && coverage >= wanted.coverage
            && density >= wanted.density
            && near.all(|off| off <= wanted.moments),
        (sureness, counts, coverage, density, found, want),
    )
}

/// Mean and variance of all elements.
fn moments(array: &Array) -> Result<[f64; 2], Failed> {
    let values = array.as_f32()?;
    let mean = |f: &dyn Fn(f64) -> f64| {
        values.iter().map(|&v| f(f64::from(v))).sum::<f64>() / values.len() as f64
    };
    let first = mean(&|v| v);
    Ok([first, mean(&|v| (v - first).powi(2))])
}

fn coverage(real: &Array, made: &Array) -> Result<(f64, f64), Failed> {
    let width = real.shape().numel() / real.shape()[0];
    let rows = |array: &Array| -> Result<Vec<Vec<f32>>, Failed> {
        let values = array.as_f32()?;
        Ok(values.chunks(width).map(<[f32]>::to_vec).collect())
    };
    let (real, made) = (rows(real)?, rows(made)?);
    let apart =
        |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum() };
    let (mut reached, mut inside) = (0, 0);
    for image in &real {
        let mut others: Vec<f32> = real.iter().map(|other| apart(image, other)).collect();
        others.sort_by(f32::total_cmp);
        // The nearest is the image itself.
        let radius = others[NEAREST];
        let here = made.iter().filter(|m| apart(image, m) <= radius).count();
        reached += usize::from(here > 0);
        inside += here;
    }
    let density = inside as f64 / (NEAREST * made.len()) as f64;
    Ok((reached as f64 / real.len() as f64, density))
}
