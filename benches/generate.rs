//! Tokens that a GPT continues a text with: keeping keys and values, and reading all again.

use std::time::Instant;

use anyhow::{Result, ensure};
use gradus::prelude::*;

use crate::figure::Figure;
use crate::gpt::Gpt;
use crate::harness::{Effort, Spread, cpu_time};
use crate::machine::{self, Options};

/// Lengths of the text, the new half included.
const LENGTHS: [usize; 3] = [64, 256, 1024];

const TOKENS: usize = 256;

pub(crate) fn figures(
    devices: &[Device],
    options: &Options,
    effort: Effort,
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for length in LENGTHS {
        let what = |way: &str| format!("next token, gpt 4×128, second half of {length}, {way}");
        let [kept, again] = ["keys and values kept", "all read again"].map(what);
        if !options.wants(&kept) && !options.wants(&again) {
            continue;
        }
        for device in devices {
            let [of_kept, of_again] = measure(device, length, effort)?;
            for (what, times) in [(&kept, of_kept), (&again, of_again)] {
                figures.push(figure(what, device, times));
            }
        }
    }
    Ok(figures)
}

/// Milliseconds of a token, by the clock and of processor time.
type Times = Vec<(f64, Option<f64>)>;

fn measure(device: &Device, length: usize, effort: Effort) -> Result<[Times; 2]> {
    let net = Gpt {
        tokens: TOKENS,
        width: 128,
        heads: 4,
        layers: 4,
        positions: length,
        checkpoint: false,
    };
    let settings = Compile::new().input("tokens", length, DType::I32);
    let mut model = net.compile(settings.device(device.clone()).batch(1))?;
    let prompt: Vec<i32> = (0..length as i32 / 2).map(|i| i * i % 251).collect();
    let mut text = prompt.clone();
    text.resize(length, 0);
    let text = Array::new([1, length], text)?;
    let scores = model.predict(&text)?;
    let row = &scores.as_f32()?[(prompt.len() - 1) * TOKENS..][..TOKENS];
    let best = row.iter().copied().fold(f32::MIN, f32::max);
    let first = model.generate(&[&prompt], Generate::new(1))?[0][0];
    let on = machine::short_name(device);
    ensure!(row[first as usize] == best, "another token on {on}");

    let new = length / 2;
    let (mut kept, mut again) = (Times::new(), Times::new());
    for _ in 0..=effort.repeats {
        // The first token comes with the prompt, and is not counted.
        let mut tokens = model.generate_stream(&[&prompt], Generate::new(new))?;
        tokens.next().transpose()?;
        kept.push(timed(new - 1, || tokens.try_for_each(|t| t.map(|_| ())))?);
        again.push(timed(1, || model.predict(&text).map(|_| ()))?);
    }
    // The first ones made the plans.
    Ok([kept, again].map(|mut times| times.split_off(1)))
}

fn timed(
    tokens: usize,
    run: impl FnOnce() -> Result<(), gradus::Error>,
) -> Result<(f64, Option<f64>)> {
    let (wall, cpu) = (Instant::now(), cpu_time());
    run()?;
    let each = |seconds: f64| seconds * 1e3 / tokens as f64;
    let cpu = cpu_time().zip(cpu);
    let cpu = cpu.map(|(after, before)| each((after - before).as_secs_f64()));
    Ok((each(wall.elapsed().as_secs_f64()), cpu))
}

fn figure(what: &str, device: &Device, times: Times) -> Figure {
    let (wall, cpu): (Vec<f64>, Vec<Option<f64>>) = times.into_iter().unzip();
    Figure {
        what: what.into(),
        on: machine::short_name(device),
        unit: "ms",
        value: Spread::of(wall),
        cpu: cpu
            .into_iter()
            .collect::<Option<Vec<f64>>>()
            .map(Spread::of),
        bar: None,
        detail: None,
    }
}
