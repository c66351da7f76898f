//! Programs with reductions: every row is computed by one invocation, or by several that share it.
//!
//! The kernel walks the reduced axes once for each pass of the program. What a pass needs along
//! those axes is computed anew; what it found, and all else that belongs to the row, is kept.

use gradus_graph::Program;

use super::super::expr::{Axis, Emitter};
use super::super::memory::Memory;
use super::super::module::Entry;
use super::super::{MAX_TRIPS, Shader, ShaderError, Writer, small};
use super::passes::{Pass, Passes};
use super::reduce::Accumulator;
use super::{axes, note, store};

/// How rows are shared out over the invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// Rows of a workgroup, or fours of them if wide along the kept axes.
    pub across: u32,
    /// Invocations that share a row, a power of two. With 1 there are no barriers.
    pub slices: u32,
    /// Along which axis an invocation computes four neighbours at once.
    pub wide: Wide,
    /// Whether neighbouring invocations share a row, not neighbouring rows: right if neighbours in
    /// memory lie along the reduced axes.
    pub slices_adjacent: bool,
}

/// Along which axis four neighbours are computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wide {
    /// None.
    No,
    /// The last kept axis: four rows.
    Kept,
    /// The last reduced axis: four elements of a row.
    Reduced,
}

/// Up to this many steps along the reduced axes, a row is written out without a loop, and what an
/// earlier pass loaded stays in registers.
const INLINE_STEPS: u32 = 16;

pub(super) fn shader(
    program: &Program,
    mut memory: Memory,
    v: Rows,
) -> Result<Shader, ShaderError> {
    let lane = match v.wide {
        Wide::No => None,
        Wide::Kept => program.kept.checked_sub(1),
        Wide::Reduced => program.axes.len().checked_sub(1),
    };
    note(program, &mut memory, lane);
    let quarter = |yes| if yes { 4 } else { 1 };
    let kernel = Kernel {
        program,
        memory: &memory,
        v,
        lane,
        rows: small(program.rows())? / quarter(v.wide == Wide::Kept),
        steps: small(program.cols())? / quarter(v.wide == Wide::Reduced),
    };
    let mut body = Writer::new();
    let accumulators = kernel.body(&mut body)?;
    let mut functions = Writer::new();
    if v.slices > 1 {
        for a in &accumulators {
            a.declare(&mut functions);
        }
    }
    Entry {
        name: "rows",
        invocations: [v.across * v.slices, 1],
        groups: kernel.rows.div_ceil(v.across),
        workgroup_memory: accumulators.iter().map(Accumulator::bytes).sum(),
        functions: functions.finish(),
        body: body.finish(),
    }
    .shader(&memory, Some(program))
}

struct Kernel<'a> {
    program: &'a Program,
    memory: &'a Memory,
    v: Rows,
    lane: Option<usize>,
    /// Rows, or fours of them.
    rows: u32,
    /// Positions on the reduced axes, or fours of them.
    steps: u32,
}

impl Kernel<'_> {
    /// Writes the statements and gives all accumulators.
    fn body(&self, out: &mut Writer) -> Result<Vec<Accumulator>, ShaderError> {
        let program = self.program;
        let live = self.place(out);
        let kept = program.axes.get(..program.kept).unwrap_or_default();
        let wide_rows = self.v.wide == Wide::Kept;
        let mut names = axes::unravel(out, "i", "row", kept, wide_rows)?;
        names.resize(program.axes.len(), Axis::new("0u"));
        let mut row = Emitter::new(program, self.memory, names, self.lane);

        let plan = Passes::new(program, self.v);
        // A small row lives in registers from pass to pass.
        let mut inline = Vec::new();
        if self.v.slices == 1 && self.steps <= INLINE_STEPS {
            for step in 0..self.steps {
                inline.push(self.step(&row, step));
            }
        }
        for pass in &plan.passes {
            row.emit(out, pass.of_row.iter().copied())?;
            for a in &pass.accumulators {
                a.start(out);
            }
            if inline.is_empty() {
                self.walk(out, &row, pass, live, plan.passes.len())?;
            } else {
                for (step, at) in (0u32..).zip(&mut inline) {
                    at.learn(&row);
                    self.visit(out, at, pass, &format!("{step}u"))?;
                }
            }
            self.join(out, &pass.accumulators);
            let first = (self.v.slices > 1).then_some("first");
            for a in &pass.accumulators {
                let value = a.result(out, first);
                row.set(a.id(), value);
            }
        }
        let last = plan.row_stores;
        row.emit(out, last.iter().map(|s| s.value))?;
        let mut condition = Vec::new();
        if self.v.slices > 1 {
            condition.push("slice == 0u");
            condition.extend(live);
        }
        let write = |out: &mut Writer| last.iter().try_for_each(|s| store(out, &row, s));
        if last.is_empty() || condition.is_empty() {
            write(out)?;
        } else {
            out.block(format_args!("if {}", condition.join(" && ")), write)?;
        }
        let all = plan.passes.into_iter();
        Ok(all.flat_map(|p| p.accumulators).collect())
    }

    /// Finds this invocation's row and its share of it. Gives the condition under which the row
    /// exists, if it may not.
    fn place(&self, out: &mut Writer) -> Option<&'static str> {
        let Rows { across, slices, .. } = self.v;
        let (slice, row) = match (across, slices) {
            (1, _) => ("lane".to_owned(), "0u".to_owned()),
            (_, 1) => ("0u".to_owned(), "lane".to_owned()),
            _ if self.v.slices_adjacent => {
                (format!("lane % {slices}u"), format!("lane / {slices}u"))
            }
            _ => (format!("lane / {across}u"), format!("lane % {across}u")),
        };
        let partial = !self.rows.is_multiple_of(across);
        let own = if partial && slices > 1 {
            "own_row"
        } else {
            "row"
        };
        out.line(format_args!("let {own} = index * {across}u + {row};"));
        if slices > 1 {
            out.line(format_args!("let slice = {slice};"));
            let stride = self.stride();
            out.line(format_args!("let first = lane - slice * {stride}u;"));
        }
        if !partial {
            return None;
        }
        let rows = self.rows;
        if slices == 1 {
            out.line(format_args!("if row >= {rows}u {{ return; }}"));
            return None;
        }
        // Nobody leaves before the barriers: those without a row walk over nothing.
        out.line(format_args!("let live = own_row < {rows}u;"));
        out.line(format_args!("let row = min(own_row, {}u);", rows - 1));
        Some("live")
    }

    /// Lanes from one slice of a row to the next.
    fn stride(&self) -> u32 {
        if self.v.slices_adjacent || self.v.across == 1 {
            1
        } else {
            self.v.across
        }
    }

    /// The emitter at a fixed step of the reduced axes.
    fn step<'a>(&self, row: &Emitter<'a>, step: u32) -> Emitter<'a> {
        let mut names = row.axes.clone();
        let mut rest = step as usize * if self.v.wide == Wide::Reduced { 4 } else { 1 };
        for axis in (self.program.kept..self.program.axes.len()).rev() {
            let size = self.program.axes.get(axis).copied().unwrap_or(1).max(1);
            if let Some(name) = names.get_mut(axis) {
                let at = rest % size;
                *name = Axis {
                    text: format!("{at}u"),
                    quad: Some(format!("{}u", at / 4)).filter(|_| self.lane == Some(axis)),
                };
            }
            rest /= size;
        }
        row.at(names, format!("_{step}"))
    }

    /// Loops over this invocation's share of the reduced axes.
    fn walk(
        &self,
        out: &mut Writer,
        row: &Emitter<'_>,
        pass: &Pass<'_>,
        live: Option<&str>,
        passes: usize,
    ) -> Result<(), ShaderError> {
        if pass.accumulators.is_empty() && pass.stores.is_empty() {
            return Ok(());
        }
        let slices = self.v.slices;
        let mut copies = 1;
        while self.steps as usize / slices as usize / copies * passes > MAX_TRIPS {
            copies *= 2;
        }
        let copies = u32::try_from(copies).unwrap_or(1);
        let whole = match copies {
            1 => self.steps,
            _ => self.steps / (copies * slices) * copies * slices,
        };
        let start = if slices == 1 { "0u" } else { "slice" };
        // A loop of whole rounds, and one over what is left.
        for (from, to, copies) in [(0, whole, copies), (whole, self.steps, 1)] {
            if from == to {
                continue;
            }
            let end = match live {
                Some(live) => format!("select(0u, {to}u, {live})"),
                None => format!("{to}u"),
            };
            let from = if from == 0 {
                start.to_owned()
            } else {
                format!("{from}u + {start}")
            };
            let head = format!(
                "for (var step = {from}; step < {end}; step += {}u)",
                copies * slices
            );
            out.block(head, |out| {
                for copy in 0..copies {
                    let one = |out: &mut Writer| {
                        let at = if copy == 0 {
                            "step".to_owned()
                        } else {
                            format!("(step + {}u)", copy * slices)
                        };
                        let reduced = self.program.axes.get(self.program.kept..);
                        let wide = self.v.wide == Wide::Reduced;
                        let names =
                            axes::unravel(out, "j", &at, reduced.unwrap_or_default(), wide)?;
                        let mut axes = row.axes.clone();
                        axes.truncate(self.program.kept);
                        axes.extend(names);
                        self.visit(out, &mut row.at(axes, String::new()), pass, &at)
                    };
                    if copies == 1 {
                        one(out)?;
                    } else {
                        out.block("", one)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Computes, accumulates and stores at one step.
    fn visit(
        &self,
        out: &mut Writer,
        at: &mut Emitter<'_>,
        pass: &Pass<'_>,
        step: &str,
    ) -> Result<(), ShaderError> {
        let reduced = pass.accumulators.iter().map(Accumulator::operand);
        at.emit(out, reduced.chain(pass.stores.iter().map(|s| s.value)))?;
        for a in &pass.accumulators {
            a.add(out, at, step)?;
        }
        pass.stores.iter().try_for_each(|s| store(out, at, s))
    }

    /// Joins the accumulators of a row: its four lanes, then its slices as a tree.
    fn join(&self, out: &mut Writer, accumulators: &[Accumulator]) {
        for a in accumulators {
            a.finish(out);
        }
        if self.v.slices == 1 || accumulators.is_empty() {
            return;
        }
        for a in accumulators {
            a.publish(out);
        }
        let mut half = self.v.slices / 2;
        while half > 0 {
            out.line("workgroupBarrier();");
            out.block(format_args!("if slice < {half}u"), |out| {
                for a in accumulators {
                    a.join(out, half * self.stride());
                }
            });
            half /= 2;
        }
        out.line("workgroupBarrier();");
    }
}
