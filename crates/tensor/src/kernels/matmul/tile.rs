//! A tile of C in the registers of one invocation.
//!
//! Rows are `c{i}_{q}`: row `i`, columns `4q..4q+4` as one vector. The tile only knows how to add a
//! run of terms of the sum at the pointers `pa` and `pb`; who walks K, and in what order, is up to
//! the kernel.
//!
//! An operand that all invocations of a subgroup have in common may be *shared*: each of them loads
//! a part and broadcasts it to the others. Software devices load lane by lane, so that eight lanes
//! that load the same value take eight loads.

use super::{Product, Strip, Writer, chunks, component, compose, vector};

/// A tile of `rows` × `cols`.
pub(super) struct Tile<'a> {
    a: &'a Strip,
    b: &'a Strip,
    rows: u32,
    cols: u32,
    row_sum: bool,
    shared: Option<Shared>,
}

/// The operand that a subgroup has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// `a` or `b`.
    pub(super) name: &'static str,
    /// Invocations of the subgroup.
    pub(super) subgroup: u32,
}

impl<'a> Tile<'a> {
    pub(super) fn new(product: &'a Product<'_>, rows: u32, cols: u32) -> Self {
        Self {
            a: &product.a,
            b: &product.b,
            rows,
            cols,
            row_sum: product.row_sum.is_some(),
            shared: None,
        }
    }

    /// The same tile, with one operand shared by the subgroup.
    pub(super) fn sharing(self, shared: Option<Shared>) -> Self {
        Self { shared, ..self }
    }

    /// Declares what this tile, at `row` and `col`, needs to find elements.
    pub(super) fn lanes(&self, out: &mut Writer) {
        for (strip, first, lanes) in [(self.a, "row", self.rows), (self.b, "col", self.cols)] {
            if self.shared.is_none_or(|s| s.name != strip.name) {
                strip.lanes(out, first, lanes);
            }
        }
    }

    /// Declares the accumulators.
    pub(super) fn zero(&self, out: &mut Writer) {
        zero(out, self.rows, self.cols);
        if self.row_sum {
            for (q, (_, width)) in chunks(self.rows).enumerate() {
                out.line(format_args!("var sum{q} = {}();", vector(width)));
            }
        }
    }

    /// Adds `terms` terms of the sum, starting at the pointers.
    pub(super) fn add(&self, out: &mut Writer, terms: u32) {
        for (strip, lanes) in [(self.a, self.rows), (self.b, self.cols)] {
            match self.shared.filter(|s| s.name == strip.name) {
                Some(shared) => load_shared(out, strip, lanes, terms, shared.subgroup),
                None => load(out, strip, lanes, terms),
            }
        }
        for k in 0..terms {
            for (q, (start, width)) in chunks(self.cols).enumerate() {
                let b = value(self.b, self.cols, terms, k, start, width);
                out.line(format_args!("let w{k}_{q} = {b};"));
            }
            for i in 0..self.rows {
                let a = value(self.a, self.rows, terms, k, i, 1);
                for (q, _) in chunks(self.cols).enumerate() {
                    out.line(format_args!("c{i}_{q} += {a} * w{k}_{q};"));
                }
            }
            if self.row_sum {
                for (q, (start, width)) in chunks(self.rows).enumerate() {
                    let a = value(self.a, self.rows, terms, k, start, width);
                    out.line(format_args!("sum{q} += {a};"));
                }
            }
        }
    }

    /// Moves the pointers on by this many terms.
    pub(super) fn advance(&self, out: &mut Writer, terms: u32) {
        for strip in [self.a, self.b] {
            out.line(format_args!(
                "p{} += {}u;",
                strip.name,
                strip.advance(terms)
            ));
        }
    }
}

/// Declares the accumulators of C.
pub(super) fn zero(out: &mut Writer, rows: u32, cols: u32) {
    for i in 0..rows {
        for (q, (_, width)) in chunks(cols).enumerate() {
            out.line(format_args!("var c{i}_{q} = {}();", vector(width)));
        }
    }
}

/// Loads all that `lanes` lanes need for `terms` terms: `a{lane}_{k / 4}` along K,
/// `a{k}_{lane / 4}` along the lanes.
fn load(out: &mut Writer, strip: &Strip, lanes: u32, terms: u32) {
    let (lines, length) = if strip.along_k {
        (lanes, terms)
    } else {
        (terms, lanes)
    };
    strip.terms(out, terms);
    for (line, chunk, loaded) in strip.loads(lines, length) {
        out.line(format_args!("let {}{line}_{chunk} = {loaded};", strip.name));
    }
}

/// The same, each invocation loading a part: those numbered `sub`, `sub + subgroup`, ….
fn load_shared(out: &mut Writer, strip: &Strip, lanes: u32, terms: u32, subgroup: u32) {
    let (name, unit) = (strip.name, strip.unit());
    let (lines, length) = if strip.along_k {
        (lanes, terms)
    } else {
        (terms, lanes)
    };
    let per_line = length / unit;
    let parts = lines * per_line;
    let lane = if name == "a" { "row" } else { "col" };
    for round in 0..parts.div_ceil(subgroup) {
        let first = round * subgroup;
        let part = if first + subgroup > parts {
            format!("min(sub + {first}u, {}u)", parts - 1)
        } else {
            format!("(sub + {first}u)")
        };
        let own = format!("own_{name}{round}");
        let loaded = strip.load_part(out, &own, [lane, &part], per_line);
        out.line(format_args!("let {own} = {loaded};"));
    }
    let from = |part: u32| {
        let (round, owner) = (part / subgroup, part % subgroup);
        format!("subgroupBroadcast(own_{name}{round}, {owner}u)")
    };
    for line in 0..lines {
        for (chunk, (start, width)) in chunks(length).enumerate() {
            let first = line * per_line + start / unit;
            let values = (first..first + width.div_ceil(unit)).map(from);
            let value = compose(&values.collect::<Vec<_>>());
            out.line(format_args!("let {name}{line}_{chunk} = {value};"));
        }
    }
}

/// The loaded values of term `k` for lanes `start..start + width`; `start` is a multiple of 4 or
/// `width` is 1.
fn value(strip: &Strip, lanes: u32, terms: u32, k: u32, start: u32, width: u32) -> String {
    let name = strip.name;
    let one = |lane: u32| {
        let (line, at, length) = if strip.along_k {
            (lane, k, terms)
        } else {
            (k, lane, lanes)
        };
        let loaded = 4.min(length - at / 4 * 4);
        format!("{name}{line}_{}{}", at / 4, component(loaded, at % 4))
    };
    if !strip.along_k && start.is_multiple_of(4) && width == 4.min(lanes - start) {
        return format!("{name}{k}_{}", start / 4);
    }
    compose(&(start..start + width).map(one).collect::<Vec<_>>())
}
