//! The gradient of an embedding: rows that are summed in the order of their positions.

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::graph::{Array, vjp};
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

const VOCABULARIES: [usize; 2] = [1_000, 50_257];
const TOKENS: [usize; 3] = [256, 1_024, 4_096];
const WIDTH: usize = 128;

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for vocabulary in VOCABULARIES {
        for tokens in TOKENS {
            let name = format!("embedding gradient {vocabulary}×{WIDTH}, {tokens} tokens");
            if !wanted(&name) {
                continue;
            }
            let mut contestants = Vec::new();
            for device in devices {
                let on = || format!("{name} on {}", machine::short_name(device));
                let mut planned = on_device(device, vocabulary, tokens).with_context(on)?;
                contestants.push(Contestant {
                    name: machine::short_name(device),
                    run: Box::new(move |times| planned.run(times)),
                });
            }
            cases.push(Case {
                name,
                unit: "1/s",
                amount: 1.0,
                contestants,
            });
        }
    }
    Ok(cases)
}

/// Run once, and the result checked.
fn on_device(device: &Device, vocabulary: usize, tokens: usize) -> Result<Planned> {
    let mut rng = Rng::new(7, 0);
    let below = u32::try_from(vocabulary)?;
    let index: Vec<i32> = (0..tokens)
        .map(|_| rng.below(below).cast_signed())
        .collect();
    let dy: Vec<f32> = (0..tokens * WIDTH).map(|_| rng.normal() as f32).collect();
    let table = vec![0.0; vocabulary * WIDTH];
    let literal = Array::new([tokens], index.clone())?;
    let mut planned = Planned::new(device, &[table, dy.clone()], |scope| {
        let table = scope.param("table", [vocabulary, WIDTH], Zeros);
        let dy = scope.param("dy", [tokens, WIDTH], Zeros);
        let y = table.gather(scope.graph().literal(literal.clone()));
        let gradient = vjp(y, dy, &[table]).into_iter().flatten().next();
        gradient.unwrap_or(table)
    })?;
    planned.run(1)?;
    let found = planned.result(0)?;
    let mut expected = vec![0.0f32; vocabulary * WIDTH];
    for (row, dy) in index.iter().zip(dy.chunks(WIDTH)) {
        let first = usize::try_from(*row)? * WIDTH;
        let sums = expected.iter_mut().skip(first);
        sums.zip(dy).for_each(|(sum, dy)| *sum += dy);
    }
    ensure!(found == expected, "the sums are others");
    Ok(planned)
}
