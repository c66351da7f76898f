//! `cargo xtask bill`: what a step costs, recomputed from the text of its plan.
//!
//! A separate small program on purpose: it shares no code with the planner, so that the two can
//! only agree if both are right.
//!
//! - *bytes*: every kernel reads and writes each of its operands once; taking a batch reads its
//!   rows and their numbers.
//! - *bytes bound*: products, reductions and the optimizer move their inputs and outputs once,
//!   other pointwise work is free. Of a product that is both operands, the product, and the row
//!   sums beside it.
//! - *transient bound*: a value in a slot lives from the kernel that writes it to the last one
//!   that reads it. A value written where a kernel reads another is that memory living on. The
//!   bound is the most bytes alive during one kernel.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use anyhow::{Context, Result, bail, ensure};

use crate::args::Args;
use crate::dump::{self, Dump, Kernel, Kind};

pub(crate) fn run(args: &[String]) -> Result<()> {
    let args = Args::parse(args, &["bytes", "transient", "shared", "recomputed"])?;
    let [path] = args.words.as_slice() else {
        bail!(
            "usage: cargo xtask bill <plan.txt> [--bytes 1.15] [--transient 1.15] [--shared 1.5] \
             [--recomputed 1.35]; `-` reads the standard input"
        );
    };
    let text = if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let limits = Limits {
        bytes: args.get("bytes")?,
        transient: args.get("transient")?,
        shared: args.get("shared")?,
        recomputed: args.get("recomputed")?,
    };
    let report = check(&text.with_context(|| format!("reading {path}"))?, &limits)?;
    println!("{}", report.table);
    ensure!(report.faults.is_empty(), "{}", report.faults.join("\n"));
    Ok(())
}

/// Ratios that a plan has to keep.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// The most that bytes may be in units of their bound.
    pub(crate) bytes: Option<f64>,
    /// The same for transient bytes.
    pub(crate) transient: Option<f64>,
    /// The least that sharing must save: transient bytes without it, in units of those with it.
    pub(crate) shared: Option<f64>,
    /// The most that operations may be in units of those without computing anything again.
    pub(crate) recomputed: Option<f64>,
}

/// The bill beside the printed one, and what is wrong.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) table: String,
    pub(crate) faults: Vec<String>,
}

/// Recomputes the bill of a plan's text.
pub(crate) fn check(text: &str, limits: &Limits) -> Result<Report> {
    let dump = dump::parse(text)?;
    let mut faults = Vec::new();
    let numbers = bill(&dump, &mut faults)?;
    let mut table = format!("{:<20} {:>16} {:>16}\n", "", "printed", "recomputed");
    for (name, value) in &numbers {
        let printed = dump.printed.get(*name);
        let text = printed.map_or("-".into(), u64::to_string);
        writeln!(table, "{name:<20} {text:>16} {value:>16}")?;
        if printed != Some(value) {
            faults.push(format!("{name}: the plan says {text}, but it is {value}"));
        }
    }
    if let Some(name) = dump
        .printed
        .keys()
        .find(|name| !numbers.contains_key(name.as_str()))
    {
        faults.push(format!("{name}: no number of the bill"));
    }
    let of = |name: &str| match name {
        "flops_once" => numbers["flops"].saturating_sub(dump.recomputed),
        name => numbers.get(name).copied().unwrap_or(0),
    };
    let most = |ratio: f64, limit: f64| ratio <= limit;
    let least = |ratio: f64, limit: f64| ratio >= limit;
    type Keeps = fn(f64, f64) -> bool;
    let ratios: [(&str, &str, Option<f64>, Keeps); 4] = [
        ("bytes", "bytes_bound", limits.bytes, most),
        ("transient", "transient_bound", limits.transient, most),
        ("transient_unshared", "transient", limits.shared, least),
        ("flops", "flops_once", limits.recomputed, most),
    ];
    for (above, below, limit, keeps) in ratios {
        let ratio = match (of(above), of(below)) {
            (0, 0) => 1.0,
            (above, below) => above as f64 / below as f64,
        };
        let name = format!("{above} / {below}");
        let limit_text = limit.map_or(String::new(), |limit| format!("   limit {limit}"));
        writeln!(table, "{name:<37} {ratio:>16.3}{limit_text}")?;
        if limit.is_some_and(|limit| !keeps(ratio, limit)) {
            faults.push(format!("{name} is {ratio:.3}, outside its{limit_text}"));
        }
    }
    Ok(Report { table, faults })
}

/// All numbers of the bill. What contradicts itself within the plan goes into `faults`.
fn bill(dump: &Dump, faults: &mut Vec<String>) -> Result<BTreeMap<&'static str, u64>> {
    let (mut flops, mut bytes, mut bytes_bound) = (
        Sum::new("flops"),
        Sum::new("bytes"),
        Sum::new("bytes_bound"),
    );
    for kernel in &dump.kernels {
        flops.add(kernel.flops)?;
        bytes.add(moved(kernel)?)?;
        bytes_bound.add(must_move(kernel, faults)?)?;
    }
    let [mut slots, mut slabs, mut other] = ["transient", "slabs", "other"].map(Sum::new);
    for (role, &bytes) in &dump.buffers {
        let slab = ["params[", "grads[", "state"]
            .iter()
            .any(|start| role.starts_with(start));
        let sum = match (is_slot(role), slab) {
            (true, _) => &mut slots,
            (_, true) => &mut slabs,
            (false, false) => &mut other,
        };
        sum.add(bytes)?;
    }
    let (alive, unshared) = transient(dump, faults)?;
    Ok(BTreeMap::from([
        ("dispatches", dump.kernels.len() as u64),
        ("flops", flops.total),
        ("bytes", bytes.total),
        ("bytes_bound", bytes_bound.total),
        ("transient", slots.total),
        ("transient_bound", alive),
        ("transient_unshared", unshared),
        ("slabs", slabs.total),
        ("other", other.total),
    ]))
}

/// Bytes that a kernel reads and writes.
fn moved(kernel: &Kernel) -> Result<u64> {
    let mut sum = Sum::new("bytes of a kernel");
    for operand in &kernel.operands {
        match kernel.kind {
            // The rows taken, once read and once written.
            Kind::Take { .. } if operand.writes.is_none() => {}
            Kind::Take { .. } => {
                sum.add(operand.bytes)?;
                sum.add(operand.bytes)?;
            }
            // What is replaced is written only.
            Kind::Update if operand.writes.is_some() => {}
            Kind::Update => {
                sum.add(operand.bytes)?;
                if operand.part == "new" {
                    sum.add(operand.bytes)?;
                }
            }
            _ => {
                sum.add(if operand.reads.is_some() {
                    operand.bytes
                } else {
                    0
                })?;
                sum.add(if operand.writes.is_some() {
                    operand.bytes
                } else {
                    0
                })?;
            }
        }
    }
    if let Kind::Take { count } = kernel.kind {
        sum.add(product(&[count, 4])?)?;
    }
    Ok(sum.total)
}

/// Bytes that a kernel has to move whatever is fused with it.
fn must_move(kernel: &Kernel, faults: &mut Vec<String>) -> Result<u64> {
    match kernel.kind {
        Kind::Pointwise if !kernel.label.starts_with("optimizer/") => Ok(0),
        Kind::MatMul { batch, m, n, k } => {
            if kernel.flops < product(&[2, batch, m, n, k])? {
                faults.push(format!(
                    "{}: fewer operations than its product has",
                    kernel.label
                ));
            }
            let mut sum = Sum::new("bytes of a product");
            let (mut a, mut b) = (false, false);
            for operand in &kernel.operands {
                let parts: Vec<&str> = operand.part.split(',').collect();
                for part in &parts {
                    if matches!(*part, "a" | "b" | "sum") {
                        sum.add(operand.bytes)?;
                    }
                }
                a |= parts.contains(&"a");
                b |= parts.contains(&"b");
            }
            if !(a && b) {
                faults.push(format!(
                    "{}: a product with an operand missing",
                    kernel.label
                ));
            }
            sum.add(product(&[batch, m, n, 4])?)?;
            Ok(sum.total)
        }
        _ => moved(kernel),
    }
}

/// The most transient bytes alive at once, and all of them without sharing.
fn transient(dump: &Dump, faults: &mut Vec<String>) -> Result<(u64, u64)> {
    let mut slots: BTreeMap<&str, Vec<Held>> = BTreeMap::new();
    let mut ended: Vec<Held> = Vec::new();
    let mut unshared = Sum::new("transient_unshared");
    for (i, kernel) in dump.kernels.iter().enumerate() {
        let here = || kernel.operands.iter().filter(|o| is_slot(&o.buffer));
        for operand in here() {
            let Some(id) = operand.reads else { continue };
            let slot = slots.entry(&operand.buffer).or_default();
            match slot.iter_mut().find(|held| held.id == id) {
                Some(held) if held.start == operand.offset => held.last = i,
                _ => faults.push(format!(
                    "{}: %{id} is not in {}+{}",
                    kernel.label, operand.buffer, operand.offset
                )),
            }
        }
        for operand in here() {
            let Some(id) = operand.writes else { continue };
            let bytes = operand
                .bytes
                .checked_next_multiple_of(16)
                .context("too many bytes")?;
            let start = operand.offset;
            let end = start.checked_add(bytes).context("too many bytes")?;
            if dump
                .buffers
                .get(&operand.buffer)
                .is_none_or(|&size| size < end)
            {
                faults.push(format!(
                    "{}: %{id} is larger than {}",
                    kernel.label, operand.buffer
                ));
            }
            unshared.add(bytes)?;
            let slot = slots.entry(&operand.buffer).or_default();
            let mut new = Held {
                id,
                start,
                bytes,
                first: i,
                last: i,
            };
            // What this kernel reads in the same place lives on.
            for held in slot.extract_if(.., |held| {
                held.start < end && start < held.start + held.bytes
            }) {
                if held.start == start && held.last == i {
                    new.first = held.first;
                    new.bytes = bytes.max(held.bytes);
                } else {
                    ended.push(held);
                }
            }
            slot.push(new);
        }
    }
    let held = slots.into_values().flatten();
    ended.extend(held);
    Ok((
        most_alive(ended.iter(), dump.kernels.len())?,
        unshared.total,
    ))
}

/// Memory in a slot that one value, or several in place of one another, occupy.
#[derive(Debug)]
struct Held {
    /// The value that was last written.
    id: u64,
    start: u64,
    bytes: u64,
    /// The kernel that first writes it.
    first: usize,
    /// The last kernel that reads or writes it.
    last: usize,
}

/// The most bytes alive during one kernel.
fn most_alive<'a>(lives: impl Iterator<Item = &'a Held>, kernels: usize) -> Result<u64> {
    // Bytes that begin to live at each kernel, and those that ended before it.
    let mut begin = vec![0_u128; kernels + 1];
    let mut ended = begin.clone();
    for life in lives {
        begin[life.first] += u128::from(life.bytes);
        ended[life.last + 1] += u128::from(life.bytes);
    }
    let (mut alive, mut most) = (0, 0);
    for (begin, ended) in begin.iter().zip(&ended) {
        alive = alive + begin - ended;
        most = most.max(alive);
    }
    Ok(u64::try_from(most)?)
}

fn is_slot(buffer: &str) -> bool {
    buffer.starts_with("slot[")
}

/// A sum that may not overflow.
struct Sum {
    what: &'static str,
    total: u64,
}

impl Sum {
    const fn new(what: &'static str) -> Self {
        Self { what, total: 0 }
    }

    fn add(&mut self, n: u64) -> Result<()> {
        let total = self.total.checked_add(n);
        self.total = total.with_context(|| format!("{} is beyond 2⁶⁴", self.what))?;
        Ok(())
    }
}

fn product(factors: &[u64]) -> Result<u64> {
    let product = factors
        .iter()
        .try_fold(1_u64, |product, &n| product.checked_mul(n));
    product.context("a product is beyond 2⁶⁴")
}

#[cfg(test)]
mod tests;
