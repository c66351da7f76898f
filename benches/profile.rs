//! Where the time of a step goes: how much of it the kernels need that it is made of.

use anyhow::{Context, Result};
use gradus::train::Device;

use crate::figure::{Bar, Figure};
use crate::harness::{Effort, Spread};
use crate::machine::{self, Options};
use crate::networks::NETWORKS;

/// Steps that are profiled, for each repeat.
const STEPS: usize = 5;

pub(crate) fn figures(
    devices: &[Device],
    options: &Options,
    effort: Effort,
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for network in NETWORKS {
        let what = format!("profile, {}", network.name());
        for device in devices {
            if !options.wants(&what) {
                continue;
            }
            let on = || format!("{what} on {}", machine::short_name(device));
            let mut model = network.model(device).with_context(on)?;
            let profile = model.profile(STEPS * effort.repeats).with_context(on)?;
            let share = 100.0 * profile.total().seconds / profile.step;
            figures.push(Figure {
                what: format!("kernels' share of a step alone, {}", network.name()),
                on: machine::short_name(device),
                unit: "%",
                value: Spread::of(vec![share]),
                cpu: None,
                bar: Some(Bar::AtLeast(60.0)),
                detail: Some(format!("{what}\n{profile}")),
            });
        }
    }
    Ok(figures)
}
