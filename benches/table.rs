//! Rows of the tables.

use crate::harness::{Case, Outcome, Rates, Spread};

/// What a contestant of a case did.
pub(crate) fn row(case: &Case<'_>, outcome: &Outcome) -> String {
    let rates = |rates: Rates| format!("{} | {}", spread(rates.rate), spread(rates.relative));
    format!(
        "| {} | {} | {} | {} | {} |",
        case.name,
        outcome.name,
        case.unit,
        rates(outcome.wall),
        outcome.cpu.map_or("– | –".into(), rates),
    )
}

/// The median, and the quartiles if they differ.
pub(crate) fn spread(Spread { low, median, high }: Spread) -> String {
    if low == high {
        return number(median);
    }
    format!("{} ({} – {})", number(median), number(low), number(high))
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value {
        v if v == v.round() || v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 0.1 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}
