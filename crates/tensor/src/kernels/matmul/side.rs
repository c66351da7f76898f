//! How a workgroup brings its slice of one operand into workgroup memory.

use super::super::Writer;
use super::gather::Gather;
use super::strip::Strip;
use super::tiled::Tiled;
use super::{Product, component, vector};

/// Elements added to each line in workgroup memory.
const PAD: u32 = 4;

/// One operand and how the workgroup fetches its slice.
pub(super) struct Side<'a> {
    pub(super) strip: &'a Strip,
    axis: &'static str,
    /// Lanes of the operand.
    lanes: u32,
    /// Lanes of the block.
    pub(super) block: u32,
}

impl<'a> Side<'a> {
    pub(super) fn new(strip: &'a Strip, axis: &'static str, lanes: u32, block: u32) -> Self {
        Self {
            strip,
            axis,
            lanes,
            block,
        }
    }

    /// Elements of a line in workgroup memory.
    pub(super) fn line(&self) -> u32 {
        self.block + PAD
    }

    /// Loads that lie side by side in memory, and how many each invocation makes.
    pub(super) fn loads(&self, v: Tiled) -> (u32, u32) {
        let unit = self.strip.unit();
        let along = if self.strip.along_k {
            v.depth
        } else {
            self.block
        } / unit;
        (along, self.block * v.depth / unit / v.invocations())
    }

    /// Declares the pointers of this invocation's loads, and where it puts what they bring.
    pub(super) fn start(&self, out: &mut Writer, v: Tiled) {
        let name = self.strip.name;
        let unit = self.strip.unit();
        let (along, loads) = self.loads(v);
        // Invocations beside each other load neighbours, those below the next line.
        let lines = v.invocations() / along;
        out.line(format_args!(
            "let {name}_along = lane % {along}u * {unit}u;"
        ));
        out.line(format_args!("let {name}_line = lane / {along}u;"));
        let edge = !self.lanes.is_multiple_of(self.block);
        let axis = self.axis;
        if !self.strip.along_k {
            let lane = format!("{axis}0 + {name}_along");
            let lane = clamped(lane, edge, self.lanes - unit.min(self.lanes));
            if self.strip.gather.is_some() {
                self.strip.lanes(out, &lane, 1);
                return;
            }
            let start = self.strip.start("batch", &format!("({lane})"));
            let line = self.strip.line();
            out.line(format_args!(
                "var p{name} = {start} + {name}_line * {line}u;"
            ));
            return;
        }
        // At an edge each load needs its own pointer, since lanes are clamped one by one.
        let gathered = self.strip.gather.is_some();
        for load in 0..if edge || gathered { loads } else { 1 } {
            let lane = format!("{axis}0 + {name}_line + {}u", load * lines);
            let lane = clamped(lane, edge, self.lanes - 1);
            if gathered {
                self.strip.lane(out, &format!("{name}_lane{load}"), &lane);
                continue;
            }
            let start = self.strip.start("batch", &format!("({lane})"));
            let along = format!("{name}_along / {unit}u");
            out.line(format_args!("var p{name}{load} = {start} + {along};"));
        }
    }

    /// Loads this invocation's part of the slice at this step, and moves on.
    pub(super) fn load(&self, out: &mut Writer, product: &Product<'_>, v: Tiled) {
        if let Some(gather) = &self.strip.gather {
            self.gather(out, gather, product.k, v);
            return;
        }
        let name = self.strip.name;
        let (along, loads) = self.loads(v);
        let lines = v.invocations() / along;
        let edge = self.strip.along_k && !self.lanes.is_multiple_of(self.block);
        let pointer = if self.strip.along_k { "0" } else { "" };
        let partial = !product.k.is_multiple_of(v.depth);
        for load in 0..loads {
            let at = if edge {
                format!("p{name}{load}")
            } else {
                let lines = load * lines * self.strip.line();
                format!("p{name}{pointer} + {lines}u")
            };
            let value = if partial {
                // Beyond K nothing is read and both factors are 0.
                let term = if self.strip.along_k {
                    format!("{name}_along")
                } else {
                    format!("{name}_line + {}u", load * lines)
                };
                let inside = format!("step * {}u + {term} < {}u", v.depth, product.k);
                out.line(format_args!("let {name}_in{load} = {inside};"));
                let loaded = self
                    .strip
                    .load(&format!("select(0u, {at}, {name}_in{load})"));
                let zero = vector(self.strip.unit());
                format!("select({zero}(), {loaded}, {name}_in{load})")
            } else {
                self.strip.load(&at)
            };
            out.line(format_args!("let {name}{load} = {value};"));
        }
        let step = self.strip.advance(v.depth);
        if !self.strip.along_k {
            out.line(format_args!("p{name} += {step}u;"));
            return;
        }
        for load in 0..if edge { loads } else { 1 } {
            out.line(format_args!("p{name}{load} += {step}u;"));
        }
    }

    /// The same for an operand that is gathered: the loads share a lane, or a term.
    fn gather(&self, out: &mut Writer, gather: &Gather, k: u32, v: Tiled) {
        let name = self.strip.name;
        let (along, loads) = self.loads(v);
        let lines = v.invocations() / along;
        for load in 0..loads {
            let (lane, number) = match self.strip.along_k {
                true => (load, 0),
                false => (0, load),
            };
            let term = format!("{name}_term{number}");
            if number == load {
                let within = match self.strip.along_k {
                    true => format!("{name}_along"),
                    false => format!("{name}_line + {}u", load * lines),
                };
                let number = format!("step * {}u + {within}", v.depth);
                if k.is_multiple_of(v.depth) || gather.knows_terms() {
                    gather.term(out, &term, &number);
                } else {
                    // Beyond K nothing is read and both factors are 0.
                    out.line(format_args!("let {term}_in = {number} < {k}u;"));
                    gather.term(out, &term, &format!("select(0u, {number}, {term}_in)"));
                }
            }
            let value = gather.load(&format!("{name}_lane{lane}"), &term);
            out.line(if k.is_multiple_of(v.depth) || gather.knows_terms() {
                format!("let {name}{load} = {value};")
            } else {
                format!("let {name}{load} = select(0.0, {value}, {term}_in);")
            });
        }
    }

    /// Puts what was loaded into workgroup memory.
    pub(super) fn publish(&self, out: &mut Writer, v: Tiled) {
        let (name, unit, line) = (self.strip.name, self.strip.unit(), self.line());
        let (along, loads) = self.loads(v);
        let lines = v.invocations() / along;
        for load in 0..loads {
            for i in 0..unit {
                let place = if self.strip.along_k {
                    let lane = load * lines;
                    format!("({name}_along + {i}u) * {line}u + {name}_line + {lane}u")
                } else {
                    let first = load * lines * line + i;
                    format!("{name}_line * {line}u + {name}_along + {first}u")
                };
                let part = component(unit, i);
                out.line(format_args!("tile_{name}[{place}] = {name}{load}{part};"));
            }
        }
    }
}

/// An index that stays below the edge.
fn clamped(index: String, edge: bool, last: u32) -> String {
    if edge {
        format!("min({index}, {last}u)")
    } else {
        index
    }
}
