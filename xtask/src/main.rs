//! Tasks for developers of Gradus: `cargo xtask <name> [arguments]`.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool answers on its standard output"
)]

mod args;
mod bill;
mod dump;
#[path = "../../examples/shared/gpt.rs"]
mod gpt;
mod networks;
mod ops;
mod plan;

use anyhow::{Result, bail};

/// One task: its name, its line of help, and what it does with the remaining arguments.
struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<()>,
}

/// Every task. A new one is a file, a `mod` line and a row here.
const TASKS: &[Task] = &[
    Task {
        name: "help",
        help: "lists the tasks",
        run: help,
    },
    Task {
        name: "plan",
        help: "prints the plan of a model for a device that need not be here",
        run: plan::run,
    },
    Task {
        name: "bill",
        help: "recomputes the bill of a printed plan and compares",
        run: bill::run,
    },
    Task {
        name: "ops",
        help: "prints docs/ops.md",
        run: ops::run,
    },
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match args.split_first() {
        None => ("help", [].as_slice()),
        Some((name, rest)) => (name.as_str(), rest),
    };
    match TASKS.iter().find(|task| task.name == name) {
        Some(task) => (task.run)(rest),
        None => bail!("no task `{name}`; `cargo xtask help` lists those there are"),
    }
}

fn help(_: &[String]) -> Result<()> {
    for task in TASKS {
        println!("cargo xtask {:12} {}", task.name, task.help);
    }
    Ok(())
}
