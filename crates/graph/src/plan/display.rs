//! Plans for people: `{}` prints at most 15 lines, `{:#}` everything.

use std::fmt;

use super::{Kernel, KernelKind, Plan, Role};

/// Kernels that the short form lists.
const SHORT: usize = 8;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.bill;
        writeln!(
            f,
            "plan `{}` for {}: {} dispatches, {} per step",
            self.name,
            self.target.name,
            b.dispatches,
            Unit(b.flops, "FLOP", 1000)
        )?;
        writeln!(
            f,
            "memory: {} slabs, {} transient ({} unshared, bound {}), {} other",
            Bytes(b.slabs),
            Bytes(b.transient),
            Bytes(b.transient_unshared),
            Bytes(b.transient_bound),
            Bytes(b.other)
        )?;
        writeln!(
            f,
            "traffic: {} per step (bound {})",
            Bytes(b.bytes),
            Bytes(b.bytes_bound)
        )?;
        let all = f.alternate() || self.kernels.len() <= SHORT + 1;
        let shown = if all { self.kernels.len() } else { SHORT };
        for (line, kernel) in self.kernels.iter().enumerate().take(shown) {
            self.line(f, line, kernel)?;
        }
        if !all {
            writeln!(
                f,
                "  … {} more; print with {{:#}}",
                self.kernels.len() - shown
            )?;
        }
        if f.alternate() {
            self.details(f)?;
        }
        Ok(())
    }
}

impl Plan {
    fn line(&self, f: &mut fmt::Formatter<'_>, line: usize, kernel: &Kernel) -> fmt::Result {
        let size = match &kernel.kind {
            KernelKind::Program(p) if p.is_pointwise() => format!("pointwise {:?}", p.axes),
            KernelKind::Program(p) => {
                format!("rows {:?} over {:?}", &p.axes[..p.kept], &p.axes[p.kept..])
            }
            KernelKind::MatMul(m) => {
                let t = |x: &super::Matrix| if x.transposed { "T" } else { "N" };
                let batch = if m.batch == 1 {
                    String::new()
                } else {
                    format!("{} × ", m.batch)
                };
                format!(
                    "matmul {batch}{}×{}×{} {}{}",
                    m.m,
                    m.n,
                    m.k,
                    t(&m.a),
                    t(&m.b)
                )
            }
            KernelKind::ScatterAdd(s) => format!("scatter {} → {}×{}", s.count, s.rows, s.width),
            KernelKind::Take(t) => format!("take {} of {}", t.count, t.samples),
        };
        writeln!(f, "  {line:>3} {:<40} {size}", kernel.label)?;
        if !f.alternate() {
            return Ok(());
        }
        for operand in &kernel.operands {
            let arrow = match (operand.reads, operand.writes) {
                (Some(_), Some(_)) => "<>",
                (Some(_), None) => "<-",
                _ => "->",
            };
            let Some(value) = operand
                .reads
                .or(operand.writes)
                .and_then(|v| self.values.get(v.index()))
            else {
                continue;
            };
            let role = self
                .buffers
                .get(value.buffer.index())
                .map(|b| b.role.to_string());
            writeln!(
                f,
                "        {arrow} {} {}{} @ {}+{}",
                value.name,
                value.meta.dtype,
                value.meta.shape,
                role.unwrap_or_default(),
                value.offset
            )?;
        }
        Ok(())
    }

    fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for buffer in &self.buffers {
            writeln!(
                f,
                "  buffer {:<14} {:>12} bytes",
                buffer.role.to_string(),
                buffer.bytes
            )?;
        }
        for r in &self.readbacks {
            let n = self
                .values
                .get(r.value.index())
                .map_or(0, |v| v.meta.shape.numel());
            writeln!(f, "  read back {} = {} · Σ {n}", r.name, r.scale)?;
        }
        for (i, site) in self.sites.iter().enumerate() {
            writeln!(f, "  index check {i}: {} below {}", site.layer, site.bound)?;
        }
        Ok(())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload => f.write_str("upload"),
            Self::Resident(i) => write!(f, "data[{i}]"),
            Self::Order => f.write_str("order"),
            Self::Params(s) => write!(f, "params[{s}]"),
            Self::Grads(s) => write!(f, "grads[{s}]"),
            Self::OptimizerState(k, s) => write!(f, "state{k}[{s}]"),
            Self::States => f.write_str("states"),
            Self::Literals => f.write_str("literals"),
            Self::Slot(i) => write!(f, "slot[{i}]"),
            Self::Outputs => f.write_str("outputs"),
            Self::Ring => f.write_str("ring"),
            Self::Errors => f.write_str("errors"),
        }
    }
}

/// A number of bytes as a person reads it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Unit(self.0, "B", 1024).fmt(f)
    }
}

/// A number with a unit and its prefix.
struct Unit(u64, &'static str, u64);

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefixes = if self.2 == 1024 {
            ["", "Ki", "Mi", "Gi"]
        } else {
            ["", "k", "M", "G"]
        };
        let (mut value, mut i) = (self.0 as f64, 0);
        while value >= self.2 as f64 && i + 1 < prefixes.len() {
            value /= self.2 as f64;
            i += 1;
        }
        let digits = if i == 0 { 0 } else { 1 };
        write!(f, "{value:.digits$} {}{}", prefixes[i], self.1)
    }
}
