//! `cargo bench`: one table of how fast this machine trains, on every device it has.
//!
//! ```text
//! cargo bench -- [--quick] [--on cpu,llvmpipe] [words…]
//! ```
//!
//! Words choose cases by name. Every result is checked before anything is timed. Contestants of a
//! case take turns; figures are medians with quartiles, per second and per second of processor
//! time, for machines that do other work besides.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

mod harness;
mod machine;
mod matmul;
mod mlp;
mod product;

use std::time::Duration;

use anyhow::Result;
use gradus::train::Device;
use harness::{Case, Effort, Outcome, Rates, Spread, measure};

/// Cases on these devices; only those whose name is wanted need be made.
type Workload = fn(&[Device], &dyn Fn(&str) -> bool) -> Result<Vec<Case<'static>>>;

/// Every workload. A new one is a file, a `mod` line and a row here.
const WORKLOADS: &[Workload] = &[matmul::cases, mlp::cases];

fn main() -> Result<()> {
    let options = machine::Options::from_args(std::env::args().skip(1))?;
    let effort = if options.quick {
        Effort {
            rounds: 3,
            turn: Duration::from_millis(30),
        }
    } else {
        Effort {
            rounds: 21,
            turn: Duration::from_millis(150),
        }
    };
    let devices = machine::devices(&options)?;
    machine::print(&devices)?;
    println!("\n| case | on | unit | per second | relative | per CPU-second | relative |");
    println!("|---|---|---|---:|---:|---:|---:|");
    for workload in WORKLOADS {
        for mut case in workload(&devices, &|name| options.wants(name))? {
            for outcome in measure(&mut case, effort)? {
                row(&case, &outcome);
            }
        }
    }
    println!(
        "\nMedians of {} turns (and quartiles); relative to the first of a case, turn by turn.",
        effort.rounds
    );
    Ok(())
}

fn row(case: &Case<'_>, outcome: &Outcome) {
    let rates = |rates: Rates| format!("{} | {}", spread(rates.rate), spread(rates.relative));
    println!(
        "| {} | {} | {} | {} | {} |",
        case.name,
        outcome.name,
        case.unit,
        rates(outcome.wall),
        outcome.cpu.map_or("- | -".into(), rates),
    );
}

fn spread(Spread { low, median, high }: Spread) -> String {
    format!("{} ({} – {})", number(median), number(low), number(high))
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
