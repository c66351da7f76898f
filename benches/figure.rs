//! Figures that are no rates: times, sizes, counts and shares, with what is asked of them.

use crate::harness::Spread;
use crate::table::spread;

/// Something measured, and the bar it is held to.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) what: String,
    /// The device.
    pub(crate) on: String,
    pub(crate) unit: &'static str,
    /// By the clock, or without time.
    pub(crate) value: Spread,
    /// In processor time.
    pub(crate) cpu: Option<Spread>,
    pub(crate) bar: Option<Bar>,
    /// What it was computed from, for those who ask.
    pub(crate) detail: Option<String>,
}

/// What is asked of the median: of processor time, where it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn describe(self, value: f64) -> String {
        let (sign, limit, holds) = match self {
            Self::AtMost(limit) => ("≤", limit, value <= limit),
            Self::AtLeast(limit) => ("≥", limit, value >= limit),
        };
        let missed = if holds { "" } else { ", **missed**" };
        format!("{sign} {limit}{missed}")
    }
}

/// A row of their table.
pub(crate) fn row(figure: &Figure) -> String {
    let asked = figure.cpu.unwrap_or(figure.value).median;
    let bar = figure.bar.map(|bar| bar.describe(asked));
    format!(
        "| {} | {} | {} | {} | {} | {} |",
        figure.what,
        figure.on,
        figure.unit,
        spread(figure.value),
        figure.cpu.map_or("–".into(), spread),
        bar.unwrap_or_else(|| "–".into()),
    )
}
