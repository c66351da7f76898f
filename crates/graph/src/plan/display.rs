//! Plans for people: `{}` prints at most 15 lines, `{:#}` everything.
//!
//! The long form is also for programs: its bill can be recomputed from its other lines
//! (`cargo xtask bill`). Names are single words there.

use std::fmt;

use super::{AttentionPass, Bill, Kernel, KernelKind, Matrix, Operand, Plan, Role};

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
        if let Some(flops) = self.recomputed {
            let percent = 100.0 * flops as f64 / b.flops.saturating_sub(flops).max(1) as f64;
            let more = Unit(flops, "FLOP", 1000);
            writeln!(f, "recomputed: {more} more than without (+{percent:.1} %)")?;
        }
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
        let size = size(&kernel.kind);
        if !f.alternate() {
            return writeln!(f, "  {line:>3} {:<40} {size}", kernel.label);
        }
        let (label, flops) = (token(&kernel.label), kernel.flops);
        writeln!(f, "  {line:>3} {label:<40} {size} · {flops} FLOP")?;
        for (i, operand) in kernel.operands.iter().enumerate() {
            self.operand(f, &part(&kernel.kind, i), operand)?;
        }
        Ok(())
    }

    /// One operand: its part in the kernel, direction, numbers and name of the value, shape, place.
    fn operand(&self, f: &mut fmt::Formatter<'_>, part: &str, operand: &Operand) -> fmt::Result {
        let (arrow, id, numbers) = match (operand.reads, operand.writes) {
            (Some(r), Some(w)) if r != w => ("<>", r, format!("%{}→%{}", r.0, w.0)),
            (Some(r), Some(_)) => ("<>", r, format!("%{}", r.0)),
            (Some(r), None) => ("<-", r, format!("%{}", r.0)),
            (None, Some(w)) => ("->", w, format!("%{}", w.0)),
            (None, None) => return Ok(()),
        };
        let Some(value) = self.values.get(id.index()) else {
            return Ok(());
        };
        let buffer = self.buffers.get(value.buffer.index());
        let dtype = match value.packed {
            true => "bf16".to_owned(),
            false => value.meta.dtype.to_string(),
        };
        writeln!(
            f,
            "        {part:<5} {arrow} {numbers} {} {}{} @ {}+{}",
            token(&value.name),
            dtype,
            value.meta.shape,
            buffer.map(|b| b.role.to_string()).unwrap_or_default(),
            value.offset
        )
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
        if let Some(flops) = self.recomputed {
            writeln!(f, "  recomputed {flops}")?;
        }
        // Exact, so that another program can recompute them from the lines above.
        for (name, number) in self.bill.numbers() {
            writeln!(f, "  bill {name:<18} {number:>14}")?;
        }
        Ok(())
    }
}

impl Bill {
    /// Every number with its name.
    pub fn numbers(&self) -> [(&'static str, u64); 9] {
        [
            ("dispatches", self.dispatches as u64),
            ("flops", self.flops),
            ("bytes", self.bytes),
            ("bytes_bound", self.bytes_bound),
            ("transient", self.transient),
            ("transient_bound", self.transient_bound),
            ("transient_unshared", self.transient_unshared),
            ("slabs", self.slabs),
            ("other", self.other),
        ]
    }
}

/// How a kernel is computed, and over what.
fn size(kind: &KernelKind) -> String {
    match kind {
        KernelKind::Program(p) if p.is_pointwise() => format!("pointwise {:?}", p.axes),
        KernelKind::Program(p) => {
            let (kept, reduced) = p.axes.split_at(p.kept.min(p.axes.len()));
            format!("rows {kept:?} over {reduced:?}")
        }
        KernelKind::MatMul(m) => {
            let t = |x: &Matrix| if x.transposed { "T" } else { "N" };
            let batch = match m.batch {
                1 => String::new(),
                batch => format!("{batch} × "),
            };
            let (a, b) = (t(&m.a), t(&m.b));
            format!("matmul {batch}{}×{}×{} {a}{b}", m.m, m.n, m.k)
        }
        KernelKind::Conv(c) => {
            let groups = match c.conv.groups {
                1 => String::new(),
                groups => format!("{groups} × "),
            };
            let [_, m, n, k] = c.conv.product(c.images);
            format!("{} {groups}{m}×{n}×{k}", c.conv.name())
        }
        KernelKind::Attention(a) => {
            let s = &a.sizes;
            let pass = match a.pass {
                AttentionPass::Forward { .. } => "forward",
                AttentionPass::Backward { .. } => "backward",
            };
            let causal = if a.op.causal { " causal" } else { "" };
            format!(
                "attention {pass} {} × {}×{}×{}{causal}",
                s.batch * s.heads,
                s.queries,
                s.keys,
                s.width
            )
        }
        KernelKind::Scatter(s) => {
            let what = if s.x.is_some() { "scatter" } else { "first" };
            format!("{what} {} → {}×{}", s.count, s.rows, s.width)
        }
        KernelKind::Scan(s) => format!("scan {}×{}×{}", s.outer, s.length, s.inner),
        KernelKind::Sort(s) => format!("sort {}×{} in runs of {}", s.rows, s.length, s.run),
        KernelKind::Update(u) => {
            let place = if u.in_place() { " in place" } else { "" };
            let (samples, new) = (u.batch, u.count);
            format!("update {new} of {samples}×{}×{}{place}", u.rows, u.width)
        }
        KernelKind::Take(t) => format!("take {} of {}", t.count, t.samples),
    }
}

/// What an operand is to its kernel, where the kernel's kind says so.
fn part(kind: &KernelKind, operand: usize) -> String {
    let one = |i: usize, name: &'static str| (vec![i], name);
    let named: Vec<(Vec<usize>, &'static str)> = match kind {
        KernelKind::MatMul(m) => {
            let sum = m.row_sum.unwrap_or(usize::MAX);
            vec![
                one(m.a.operand, "a"),
                one(m.b.operand, "b"),
                one(sum, "sum"),
            ]
        }
        KernelKind::Conv(c) => {
            let sum = c.row_sum.unwrap_or(usize::MAX);
            vec![
                (c.a.operands(), "a"),
                (c.b.operands(), "b"),
                one(sum, "sum"),
            ]
        }
        KernelKind::Attention(a) => {
            let mut a = a.clone();
            let all = a.operands_mut().into_iter();
            all.map(|(name, o)| one(*o, name)).collect()
        }
        KernelKind::Scatter(s) => {
            let [x, order] = [s.x, s.order].map(|o| o.unwrap_or(usize::MAX));
            vec![
                one(x, "x"),
                one(s.index, "index"),
                one(order, "order"),
                one(s.out, "out"),
            ]
        }
        KernelKind::Scan(s) => {
            let a = s.a.unwrap_or(usize::MAX);
            vec![one(a, "a"), one(s.x, "x"), one(s.out, "out")]
        }
        KernelKind::Sort(s) => {
            let order = s.order.unwrap_or(usize::MAX);
            vec![one(s.x, "x"), one(order, "order"), one(s.out, "out")]
        }
        KernelKind::Update(u) => vec![
            one(u.x, "x"),
            one(u.new, "new"),
            one(u.start, "start"),
            one(u.out, "out"),
        ],
        KernelKind::Take(t) => vec![one(t.order, "order")],
        KernelKind::Program(_) => Vec::new(),
    };
    let names = named.iter().filter(|(all, _)| all.contains(&operand));
    names.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

/// A name as one word: whoever reads the lines splits them at spaces.
fn token(name: &str) -> String {
    let word = |c: char| {
        if c.is_whitespace() || c.is_control() {
            '_'
        } else {
            c
        }
    };
    match name {
        "" => "_".into(),
        name => name.chars().map(word).collect(),
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
            Self::Cache(i) => write!(f, "cache[{i}]"),
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
