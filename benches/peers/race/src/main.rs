//! Gradus beside its peers: the same workloads, turn by turn, in one table.
//!
//! ```text
//! cargo run --release -- [--quick] [--list] [--only gradus,jax] [--python python3] [--gpu name]
//!     [words…]
//! ```
//!
//! Words choose workloads by name. See `README.md`.
#![forbid(unsafe_code)]

mod contestant;
mod measure;
mod options;
mod process;
mod table;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use contestant::Contestant;
use measure::{Effort, race};
use options::Options;

fn main() -> Result<()> {
    let options = Options::from_args(std::env::args().skip(1))?;
    let mut contestants: Vec<Contestant> = contestant::all(&options.gpu, &options.python)
        .into_iter()
        .filter(|contestant| options.wants_contestant(&contestant.name))
        .collect();
    let workloads: Vec<_> = workload::all()
        .into_iter()
        .filter(|workload| options.wants_workload(&workload.name()))
        .collect();
    if options.list {
        contestants.iter().for_each(|c| println!("{}", c.name));
        workloads.iter().for_each(|w| println!("{}", w.name()));
        return Ok(());
    }
    ensure!(
        !contestants.is_empty(),
        "no contestant of this name; --list shows them"
    );
    ensure!(
        !workloads.is_empty(),
        "no workload of this name; --list shows them"
    );
    for contestant in &mut contestants {
        contestant.build()?;
    }
    let effort = if options.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    table::print_machine();
    table::print_head();
    let mut abouts = BTreeMap::new();
    for workload in &workloads {
        let outcomes = race(workload, &contestants, effort)?;
        for outcome in &outcomes {
            if let Some(about) = outcome.about() {
                abouts.insert(outcome.name.clone(), about.to_string());
            }
        }
        table::print_rows(workload, &outcomes);
    }
    table::print_foot(&abouts, effort);
    Ok(())
}
