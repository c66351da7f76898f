//! Causal attention with its gradients, as one op and written out: products, a mask and a softmax.

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::graph::{AttentionOptions, Var, vjp};
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

/// Sequences in a batch, their lengths, heads and the width of each.
const BATCH: usize = 4;
const LENGTHS: [usize; 3] = [64, 256, 1024];
const HEADS: usize = 4;
const WIDTH: usize = 32;

type Form = for<'g> fn([Var<'g>; 3]) -> Var<'g>;

const FORMS: [(&str, Form); 2] = [
    ("", |[q, k, v]| {
        q.attention(k, v, &AttentionOptions::new().causal(true))
    }),
    (", written out", |x| {
        let [q, k, v] = x.map(|x| x.permute(&[0, 2, 1, 3]));
        let scores = q.matmul(k.transpose()) * (WIDTH as f64).sqrt().recip();
        let future = q.graph().full([q.dim(2), k.dim(2)], true).triu(1);
        let weights = scores.masked_fill(future, -1e30).softmax();
        weights.matmul(v).permute(&[0, 2, 1, 3])
    }),
];

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for length in LENGTHS {
        let name = format!("attention and gradients, {BATCH}×{length}, {HEADS} heads of {WIDTH}");
        if !wanted(&name) {
            continue;
        }
        let mut contestants = Vec::new();
        let mut expected: Option<Vec<f32>> = None;
        for device in devices {
            for (tag, form) in FORMS {
                let on = format!("{}{tag}", machine::short_name(device));
                let (planned, found) =
                    on_device(device, length, form).with_context(|| format!("{name} on {on}"))?;
                let expected = expected.get_or_insert_with(|| found.clone());
                for (i, (a, b)) in expected.iter().zip(&found).enumerate() {
                    ensure!(
                        (a - b).abs() <= 1e-3,
                        "element {i} on {on}: {b}, elsewhere {a}"
                    );
                }
                contestants.push(Contestant::planned(on, planned));
            }
        }
        cases.push(Case {
            name,
            unit: "1/s",
            amount: 1.0,
            contestants,
        });
    }
    Ok(cases)
}

/// Run once: the sum of the result and all gradients.
fn on_device(device: &Device, length: usize, form: Form) -> Result<(Planned, Vec<f32>)> {
    let shape = [BATCH, length, HEADS, WIDTH];
    let mut rng = Rng::new(6, 0);
    let mut array = || -> Vec<f32> {
        let count = shape.iter().product();
        (0..count).map(|_| rng.normal() as f32).collect()
    };
    let arrays = [array(), array(), array(), array()];
    let mut planned = Planned::new(device, &arrays, |scope| {
        let [q, k, v, dy] = ["q", "k", "v", "dy"].map(|name| scope.param(name, shape, Zeros));
        let y = form([q, k, v]);
        let gradients = vjp(y, dy, &[q, k, v]).into_iter().flatten();
        gradients.fold(y, |sum, dx| sum + dx)
    })?;
    planned.run(1)?;
    let found = planned.result(0)?;
    Ok((planned, found))
}
