//! Draws: how often, of what, and the same again.

use gradus::prelude::*;
use libtest_mimic::Failed;

use super::{LENGTH, Net, model, prompts};

const V: usize = 11;
const DRAWS: usize = 4096;

/// The scores of the next token are a row of a table.
struct Table;

impl Layer for Table {
    fn forward<'g>(&self, scope: &Scope<'g>, tokens: Var<'g>) -> Var<'g> {
        scope.apply("table", &Embedding::new(V, V), tokens)
    }
}

fn table(device: &Device) -> Result<(Model, Vec<f64>), Failed> {
    let settings = Compile::new().input("tokens", 4, DType::I32);
    let mut model = Table.compile(settings.device(device.clone()).seed(2))?;
    let table = model.parameter("table.weight")?;
    let row = table.as_f32()?[3 * V..][..V].iter().map(|&x| f64::from(x));
    Ok((model, row.collect()))
}

/// How often each token follows token 3.
fn counts(model: &mut Model, settings: Generate) -> Result<Vec<f64>, Failed> {
    let mut counts = vec![0.0; V];
    for new in model.generate(&vec![[3]; DRAWS], settings)? {
        counts[new[0] as usize] += 1.0;
    }
    Ok(counts)
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let sum: f64 = scores.iter().map(|x| x.exp()).sum();
    scores.iter().map(|x| x.exp() / sum).collect()
}

/// Those in the order of their probability.
fn order(shares: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..V).collect();
    order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
    order
}

/// Only these stay, and share all.
fn among(shares: &[f64], kept: &[usize]) -> Vec<f64> {
    let sum: f64 = kept.iter().map(|&i| shares[i]).sum();
    (0..V)
        .map(|i| {
            if kept.contains(&i) {
                shares[i] / sum
            } else {
                0.0
            }
        })
        .collect()
}

/// Chi-square with at most 10 degrees of freedom is above 29.6 once in a thousand seeds.
fn fits(counts: &[f64], shares: &[f64]) {
    let terms = counts.iter().zip(shares).map(|(&found, share)| {
        let expected = share * DRAWS as f64;
        assert!(
            expected > 0.0 || found == 0.0,
            "an excluded token was drawn"
        );
        (found - expected).powi(2) / expected.max(f64::MIN_POSITIVE)
    });
    let chi_square: f64 = terms.sum();
    assert!(chi_square < 29.6, "{chi_square}: {counts:?} of {shares:?}");
}

pub(super) fn draws_follow_the_scores(device: &Device) -> Result<(), Failed> {
    let (mut model, scores) = table(device)?;
    for (temperature, seed) in [(1.0, 1), (0.5, 2), (3.0, 1 << 40)] {
        let settings = Generate::new(1).temperature(temperature).seed(seed);
        let cooled: Vec<f64> = scores.iter().map(|x| x / temperature).collect();
        fits(&counts(&mut model, settings)?, &softmax(&cooled));
    }
    Ok(())
}

pub(super) fn excluded_tokens_are_never_drawn(device: &Device) -> Result<(), Failed> {
    let (mut model, scores) = table(device)?;
    let shares = softmax(&scores);
    let order = order(&shares);
    let draw = |settings: Generate, model: &mut Model| counts(model, settings);
    for k in [1, 2, 5, V, V + 3] {
        let found = draw(Generate::new(1).top_k(k).seed(4), &mut model)?;
        fits(&found, &among(&shares, &order[..k.min(V)]));
    }
    // The fewest whose sum is at least p.
    let fewest = |shares: &[f64], p: f64| {
        let before = |n: usize| order[..n].iter().map(|&i| shares[i]).sum::<f64>();
        (1..V).find(|&n| before(n) >= p).unwrap_or(V)
    };
    for p in [1e-6, 0.3, 0.7, 0.95, 1.0] {
        let found = draw(Generate::new(1).top_p(p).seed(5), &mut model)?;
        fits(&found, &among(&shares, &order[..fewest(&shares, p)]));
    }
    // Both: the share is that among the k, at the temperature.
    let warm = softmax(&scores.iter().map(|x| x / 1.5).collect::<Vec<_>>());
    let warm = among(&warm, &order[..6]);
    let both = Generate::new(1)
        .temperature(1.5)
        .top_k(6)
        .top_p(0.6)
        .seed(6);
    let kept = fewest(&warm, 0.6);
    assert!(kept < 6);
    fits(&draw(both, &mut model)?, &among(&warm, &order[..kept]));
    // A temperature of 0 and a single token left are the highest score.
    let first = Generate::new(1).temperature(0.0).top_k(5);
    assert_eq!(draw(first, &mut model)?[order[0]], DRAWS as f64);
    let cold = Generate::new(1).temperature(1e-300);
    assert_eq!(draw(cold, &mut model)?[order[0]], DRAWS as f64);
    Ok(())
}

fn drawn(device: &Device, seed: u64) -> Result<Vec<Vec<i32>>, Failed> {
    let mut model = model(Net::Rotary, device, LENGTH)?;
    let plain = Generate::new(10).temperature(1.2).seed(seed);
    let likely = plain.clone().top_k(9).top_p(0.9);
    let mut new = model.generate(&prompts(), plain)?;
    new.extend(model.generate(&prompts(), likely)?);
    Ok(new)
}

pub(super) fn same_seed_same_tokens(device: &Device) -> Result<(), Failed> {
    let new = drawn(device, 7)?;
    assert_eq!(new, drawn(device, 7)?);
    assert_ne!(new, drawn(device, 8)?);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    assert_eq!(new, one_thread.install(|| drawn(device, 7))?);
    Ok(())
}

/// The random bits are the same everywhere.
pub(super) fn devices_agree(device: &Device) -> Result<(), Failed> {
    assert_eq!(drawn(device, 7)?, drawn(&Device::cpu(), 7)?);
    Ok(())
}
