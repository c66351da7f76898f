//! One reduction of a rows kernel: the accumulator of an invocation, and the tree that joins those
//! of a workgroup.
//!
//! Every order is fixed: an invocation adds its terms in ascending order, then its four lanes, then
//! the tree joins neighbours half and half again.

use gradus_graph::ops::Reduction;
use gradus_graph::{DType, Expr, ExprId, Program, Scalar};

use super::super::expr::Emitter;
use super::super::memory::scalar;
use super::super::value::{Value, literal};
use super::super::{ShaderError, Writer};
use super::rows::{Rows, Wide};

/// A reduction and how it is carried out.
#[derive(Clone, Copy)]
pub(super) struct Accumulator {
    id: ExprId,
    x: ExprId,
    op: Reduction,
    /// Whether the position of the extreme is asked for, not its value.
    arg: bool,
    dtype: DType,
    rows: Rows,
}

impl Accumulator {
    /// The reduction that an expression is, if it is one.
    pub(super) fn of(program: &Program, id: ExprId, rows: Rows) -> Option<Self> {
        let (op, x, arg) = match program.expr(id)? {
            Expr::Reduce(op, x) => (*op, *x, false),
            Expr::ArgReduce(op, x) => (*op, *x, true),
            _ => return None,
        };
        let dtype = program.dtypes.get(x.index());
        Some(Self {
            id,
            x,
            op,
            arg,
            dtype: dtype.copied().unwrap_or(DType::F32),
            rows,
        })
    }

    /// The expression that is reduced.
    pub(super) fn operand(&self) -> ExprId {
        self.x
    }

    /// Bytes of workgroup memory.
    pub(super) fn bytes(&self) -> u32 {
        if self.rows.slices == 1 {
            return 0;
        }
        let lanes = if self.rows.wide == Wide::Kept { 4 } else { 1 };
        let arrays = if self.arg { 2 } else { 1 };
        self.rows.across * self.rows.slices * 4 * lanes * arrays
    }

    /// Declares the accumulator.
    pub(super) fn start(&self, out: &mut Writer) {
        let name = self.name();
        let first = self.splat(&identity(self.op, self.dtype), self.dtype);
        out.line(format_args!("var {name} = {first};"));
        if self.arg {
            let zero = self.splat("0i", DType::I32);
            out.line(format_args!("var {name}_at = {zero};"));
        }
    }

    /// Takes in the elements at step `step` of the reduced axes.
    pub(super) fn add(
        &self,
        out: &mut Writer,
        emitter: &Emitter<'_>,
        step: &str,
    ) -> Result<(), ShaderError> {
        let name = self.name();
        let value = if self.rows.wide == Wide::No {
            emitter.get(self.x)?.text
        } else {
            emitter.widened(self.x)?
        };
        if !self.arg {
            out.line(format_args!("{name} = {};", self.joined(&name, &value)));
            return Ok(());
        }
        let at = match self.rows.wide {
            Wide::No => format!("i32({step})"),
            Wide::Kept => format!("vec4<i32>(i32({step}))"),
            Wide::Reduced => format!("(i32({step} * 4u) + vec4<i32>(0, 1, 2, 3))"),
        };
        let better = if self.op == Reduction::Min { "<" } else { ">" };
        // Steps ascend, so that only a strictly better element takes the place of an earlier one.
        out.block("", |out| {
            out.line(format_args!("let better = {value} {better} {name};"));
            out.line(format_args!("{name}_at = select({name}_at, {at}, better);"));
            out.line(format_args!("{name} = select({name}, {value}, better);"));
        });
        Ok(())
    }

    /// Joins the four lanes and gives the value of this invocation.
    pub(super) fn finish(&self, out: &mut Writer) {
        let name = self.name();
        if self.rows.wide != Wide::Reduced {
            out.line(format_args!("var {name}_all = {name};"));
            if self.arg {
                out.line(format_args!("var {name}_all_at = {name}_at;"));
            }
            return;
        }
        if !self.arg {
            let halves = [("x", "y"), ("z", "w")]
                .map(|(a, b)| self.joined(&format!("{name}.{a}"), &format!("{name}.{b}")));
            let [low, high] = halves;
            out.line(format_args!(
                "var {name}_all = {};",
                self.joined(&low, &high)
            ));
            return;
        }
        out.line(format_args!("var {name}_all = {name}.x;"));
        out.line(format_args!("var {name}_all_at = {name}_at.x;"));
        for part in ["y", "z", "w"] {
            self.keep_better(out, &format!("{name}.{part}"), &format!("{name}_at.{part}"));
        }
    }

    /// Declares workgroup memory.
    pub(super) fn declare(&self, out: &mut Writer) {
        let length = self.rows.across * self.rows.slices;
        for (suffix, dtype) in [("", self.dtype), ("_at", DType::I32)] {
            if suffix.is_empty() || self.arg {
                out.line(format_args!(
                    "var<workgroup> scratch{}{suffix}: array<{}, {length}>;",
                    self.id.0,
                    self.ty(dtype)
                ));
            }
        }
    }

    /// Puts this invocation's value where the others see it.
    pub(super) fn publish(&self, out: &mut Writer) {
        let (name, scratch) = (self.name(), format!("scratch{}", self.id.0));
        out.line(format_args!("{scratch}[lane] = {name}_all;"));
        if self.arg {
            out.line(format_args!("{scratch}_at[lane] = {name}_all_at;"));
        }
    }

    /// Joins the invocation's value with that of the one `away` lanes after it.
    pub(super) fn join(&self, out: &mut Writer, away: u32) {
        let (name, scratch) = (self.name(), format!("scratch{}", self.id.0));
        let other = format!("{scratch}[lane + {away}u]");
        if self.arg {
            self.keep_better(out, &other, &format!("{scratch}_at[lane + {away}u]"));
        } else {
            let all = format!("{name}_all");
            out.line(format_args!("{all} = {};", self.joined(&all, &other)));
        }
        self.publish(out);
    }

    /// Names the result, which lies at `first` in workgroup memory if the row has several slices.
    pub(super) fn result(&self, out: &mut Writer, first: Option<&str>) -> Value {
        let at = if self.arg { "_at" } else { "" };
        let name = format!("v{}", self.id.0);
        let from = match first {
            Some(first) => format!("scratch{}{at}[{first}]", self.id.0),
            None => format!("{}_all{at}", self.name()),
        };
        out.line(format_args!("let {name} = {from};"));
        Value {
            text: name,
            wide: self.rows.wide == Wide::Kept,
        }
    }

    /// The expression this is.
    pub(super) fn id(&self) -> ExprId {
        self.id
    }

    fn name(&self) -> String {
        format!("r{}", self.id.0)
    }

    fn joined(&self, a: &str, b: &str) -> String {
        match self.op {
            Reduction::Sum => format!("({a} + {b})"),
            Reduction::Prod => format!("({a} * {b})"),
            Reduction::Max => format!("max({a}, {b})"),
            Reduction::Min => format!("min({a}, {b})"),
        }
    }

    /// Takes a candidate that is better, or as good and earlier.
    fn keep_better(&self, out: &mut Writer, value: &str, at: &str) {
        let all = format!("{}_all", self.name());
        let better = if self.op == Reduction::Min { "<" } else { ">" };
        out.block("", |out| {
            out.line(format_args!("let value = {value};"));
            out.line(format_args!("let at = {at};"));
            out.line(format_args!(
                "let better = (value {better} {all}) | ((value == {all}) & (at < {all}_at));"
            ));
            out.line(format_args!("{all} = select({all}, value, better);"));
            out.line(format_args!("{all}_at = select({all}_at, at, better);"));
        });
    }

    /// The type of one invocation's published value.
    fn ty(&self, dtype: DType) -> String {
        match self.rows.wide {
            Wide::Kept => format!("vec4<{}>", scalar(dtype)),
            _ => scalar(dtype).to_owned(),
        }
    }

    fn splat(&self, value: &str, dtype: DType) -> String {
        match self.rows.wide {
            Wide::No => value.to_owned(),
            _ => format!("vec4<{}>({value})", scalar(dtype)),
        }
    }
}

/// What changes nothing when joined. WGSL has no infinity: the identity of max is the lowest
/// finite number.
fn identity(op: Reduction, dtype: DType) -> String {
    let lowest = op == Reduction::Max;
    literal(match (op, dtype) {
        (Reduction::Sum, _) => Scalar::zero(dtype),
        (Reduction::Prod, DType::F32) => Scalar::F32(1.0),
        (Reduction::Prod, DType::I32) => Scalar::I32(1),
        (Reduction::Prod, _) => Scalar::U32(1),
        (_, DType::I32) => Scalar::I32(if lowest { i32::MIN } else { i32::MAX }),
        (_, DType::U32) => Scalar::U32(if lowest { 0 } else { u32::MAX }),
        (_, DType::Bool) => Scalar::Bool(!lowest),
        (_, DType::F32) => Scalar::F32(f64::from(if lowest { f32::MIN } else { f32::MAX })),
    })
}
