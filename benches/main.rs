//! `cargo bench`: how fast this machine trains, on every device it has.
//!
//! ```text
//! cargo bench -- [--quick] [--kernels] [--on cpu,llvmpipe] [words…]
//! ```
//!
//! Words choose cases by name. Every result is checked before anything is timed. Contestants of a
//! case take turns; figures are medians with quartiles, per second and per second of processor
//! time, for machines that do other work besides. A second table has what is no rate, and what is
//! asked of it: of processor time, where it is known. `--kernels` adds the profiles behind it.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

mod attention;
mod conv;
mod embedding;
mod figure;
mod generate;
#[path = "../examples/shared/gpt.rs"]
mod gpt;
mod harness;
mod machine;
mod matmul;
mod networks;
mod planned;
mod pointwise;
mod pool;
mod profile;
mod reduction;
mod start;
#[cfg(feature = "gpu")]
mod submit;
mod table;
mod update;

use std::time::Duration;

use anyhow::Result;
use figure::Figure;
use gradus::train::Device;
use harness::{Case, Effort, measure};
use machine::Options;

/// Cases on these devices; only those whose name is wanted need be made.
type Workload = fn(&[Device], &dyn Fn(&str) -> bool) -> Result<Vec<Case<'static>>>;

/// Every workload. A new one is a file, a `mod` line and a row here.
const WORKLOADS: &[Workload] = &[
    matmul::cases,
    conv::cases,
    pool::cases,
    pointwise::cases,
    reduction::cases,
    attention::cases,
    embedding::cases,
    update::cases,
    networks::cases,
];

/// What is no rate, measured as a whole.
type Measurement = fn(&[Device], &Options, Effort) -> Result<Vec<Figure>>;

/// Every measurement.
const MEASUREMENTS: &[Measurement] = &[
    start::figures,
    // The CPU executor encodes nothing.
    #[cfg(feature = "gpu")]
    submit::figures,
    profile::figures,
    generate::figures,
];

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|arg| arg == start::CHILD).is_some() {
        return start::child(args);
    }
    let options = Options::from_args(args)?;
    let effort = if options.quick {
        Effort {
            rounds: 3,
            turn: Duration::from_millis(30),
            repeats: 2,
        }
    } else {
        Effort {
            rounds: 21,
            turn: Duration::from_millis(150),
            repeats: 9,
        }
    };
    let devices = machine::devices(&options)?;
    machine::print(&devices)?;
    println!("\n| case | on | unit | per second | relative | per CPU-second | relative |");
    println!("|---|---|---|---:|---:|---:|---:|");
    for workload in WORKLOADS {
        for mut case in workload(&devices, &|name| options.wants(name))? {
            for outcome in measure(&mut case, effort)? {
                println!("{}", table::row(&case, &outcome));
            }
        }
    }
    println!(
        "\nMedians of {} turns (and quartiles); relative to the first of a case, turn by turn.",
        effort.rounds
    );
    println!("\n| what | on | unit | by the clock | processor time | asked |");
    println!("|---|---|---|---:|---:|---|");
    let mut details = Vec::new();
    for measurement in MEASUREMENTS {
        for figure in measurement(&devices, &options, effort)? {
            println!("{}", figure::row(&figure));
            details.extend(figure.detail);
        }
    }
    if options.kernels {
        for detail in details {
            println!("\n{detail}");
        }
    }
    Ok(())
}
