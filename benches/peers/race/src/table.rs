//! One Markdown table.

use std::collections::BTreeMap;
use std::process::Command;

use workload::{Turn, Workload};

use crate::contestant::Side;
use crate::measure::{Effort, Figures, Outcome};

/// How variables begin that make contestants faster or slower.
const SETTINGS: [&str; 8] = [
    "GRADUS_",
    "JAX_",
    "LP_",
    "MKL_",
    "OMP_",
    "OPENBLAS_",
    "RAYON_",
    "RUSTFLAGS",
];

pub(crate) fn print_machine() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split(':').nth(1))
        .unwrap_or("unknown");
    println!("processor  {}, {cores} threads", model.trim());
    if let Ok(rustc) = Command::new("rustc").arg("--version").output() {
        println!(
            "compiler   {}",
            String::from_utf8_lossy(&rustc.stdout).trim()
        );
    }
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        let load: Vec<&str> = load.split(' ').take(3).collect();
        println!("load       {} before the race", load.join(", "));
    }
    for (name, value) in std::env::vars() {
        if SETTINGS.iter().any(|setting| name.starts_with(setting)) {
            println!("setting    {name}={value}");
        }
    }
}

pub(crate) fn print_head() {
    println!(
        "\n| workload | contestant | unit | per second | gradus is | per CPU-second | gradus is \
         | first step, cold | warm | memory |"
    );
    println!("|---|---|---|---:|---:|---:|---:|---:|---:|---:|");
}

pub(crate) fn print_rows(workload: &Workload, outcomes: &[Outcome]) {
    for outcome in outcomes {
        let start = format!("| {} | {}", workload.name(), outcome.name);
        match &outcome.result {
            Ok(figures) => {
                let gradus = gradus(outcomes, outcome.side);
                let note = figures.deviation.as_ref().map(|note| format!(" ({note})"));
                let row = figures_row(workload, figures, gradus);
                println!("{start}{} | {row} |", note.unwrap_or_default());
            }
            Err(error) => {
                let error = format!("{error:#}").replace('|', "\\|").replace('\n', " ");
                println!("{start} | **{error}** | | | | | | | |");
            }
        }
    }
}

pub(crate) fn print_foot(abouts: &BTreeMap<String, String>, effort: Effort) {
    println!(
        "\nMedians of {} turns (and quartiles). *gradus is*: how many times as fast Gradus was on \
         the same side, CPU or GPU, in the same round. *First step*: from the start of the \
         process, with empty caches and with those of a start before. *Memory*: the most that \
         was resident. Results were checked before.\n",
        effort.rounds
    );
    for (name, about) in abouts {
        println!("- {name}: {about}");
    }
}

/// Gradus on this side, if it raced.
fn gradus(outcomes: &[Outcome], side: Side) -> Option<&Figures> {
    let is_gradus = |o: &&Outcome| o.side == side && o.name.starts_with("gradus ");
    outcomes.iter().find(is_gradus)?.result.as_ref().ok()
}

fn figures_row(workload: &Workload, figures: &Figures, gradus: Option<&Figures>) -> String {
    let rates = |seconds: fn(&Turn) -> f64| {
        let units = |figures: &Figures| -> Vec<f64> {
            let units = workload.amount() * figures.steps as f64;
            figures
                .turns
                .iter()
                .map(|turn| units / seconds(turn))
                .collect()
        };
        let own = units(figures);
        let ratios = gradus.map(|gradus| {
            let ratios = units(gradus)
                .into_iter()
                .zip(&own)
                .map(|(gradus, own)| gradus / own);
            spread(ratios.collect())
        });
        format!("{} | {}", spread(own), ratios.unwrap_or("-".into()))
    };
    let peak = figures
        .turns
        .iter()
        .map(|turn| turn.peak)
        .max()
        .unwrap_or_default();
    format!(
        "{} | {} | {} | {} s | {} | {} MiB",
        workload.unit(),
        rates(|turn| turn.wall),
        rates(|turn| turn.cpu),
        number(figures.cold),
        figures
            .warm
            .map_or("-".into(), |warm| format!("{} s", number(warm))),
        peak >> 20,
    )
}

/// The middle, and the quarters below and above.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let position = share * (values.len() as f64 - 1.0);
        let (below, above) = (position.floor() as usize, position.ceil() as usize);
        let value = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        value(below) + (value(above) - value(below)) * position.fract()
    };
    format!(
        "{} ({} – {})",
        number(at(0.5)),
        number(at(0.25)),
        number(at(0.75))
    )
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
