//! A profile for people.

use std::fmt;
use std::iter::once;

use super::{KernelProfile, Profile};

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        writeln!(f, "profile of a step on {}", self.device)?;
        let steps = self.recording.steps.len();
        writeln!(f, "  {}; median of {steps}", self.clock)?;
        let widest = |of: fn(&KernelProfile) -> &str| {
            let kernels = self.kernels.iter().chain(once(&total));
            kernels.map(|k| of(k).chars().count()).max().unwrap_or(0)
        };
        let (label, how) = (widest(|k| &k.label), widest(|k| &k.how).max(3));
        writeln!(
            f,
            "    # {:<label$}  {:<how$} {:>9} {:>6} {:>8} {:>8}  of peak",
            "kernel", "how", "time", "share", "GB/s", "GFLOP/s"
        )?;
        let lines = (0..self.kernels.len()).map(|line| line.to_string());
        let lines = lines.chain(once(String::new()));
        for (line, kernel) in lines.zip(self.kernels.iter().chain(once(&total))) {
            let (share, roof) = self.peak.share(kernel);
            writeln!(
                f,
                "  {line:>3} {:<label$}  {:<how$} {:>9} {:>6} {:>8} {:>8} {:>6} {roof}",
                kernel.label,
                kernel.how,
                time(kernel.seconds),
                percent(kernel.seconds / total.seconds),
                giga(kernel.bandwidth()),
                giga(kernel.rate()),
                percent(share),
            )?;
        }
        let gap = self.step - total.seconds;
        writeln!(
            f,
            "  a step alone {}, of which no kernel runs in {} ({})",
            time(self.step),
            time(gap),
            percent(gap / self.step)
        )?;
        let (bandwidth, rate) = (giga(self.peak.bandwidth), giga(self.peak.rate));
        write!(f, "  peak: copy {bandwidth} GB/s, matmul {rate} GFLOP/s")
    }
}

fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.0} %", 100.0 * share)
    } else {
        "–".into()
    }
}

/// 10⁹ of something.
fn giga(value: f64) -> String {
    three(value * 1e-9)
}

fn time(seconds: f64) -> String {
    match seconds.abs() {
        s if s >= 1.0 => three(seconds) + " s",
        s if s >= 1e-3 => three(seconds * 1e3) + " ms",
        _ => three(seconds * 1e6) + " µs",
    }
}

/// The first three digits.
fn three(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "–".into(),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
