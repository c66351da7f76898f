//! The expressions of a program as WGSL statements.
//!
//! With a *lane* axis, four neighbours along it are computed at once: the name of that axis stands
//! for the first of them, and an expression that varies along it is a `vec4`. All others stay
//! scalars and are computed once for the four.

use gradus_graph::ops::{Binary, Unary};
use gradus_graph::{DType, Expr, ExprId, Index, Program};

use super::memory::{Memory, scalar, step_word};
use super::value::{Value, call, cast, in_range, literal, narrow, substitute, wide, widen};
use super::{ShaderError, Writer, index};

/// The position on one axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// A name or a number.
    pub(super) text: String,
    /// For the lane axis, a quarter of it: which four this is.
    pub(super) quad: Option<String>,
}

impl Axis {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            quad: None,
        }
    }
}

/// Writes expressions at one position of the iteration space.
#[derive(Clone)]
pub(super) struct Emitter<'a> {
    pub(super) program: &'a Program,
    pub(super) memory: &'a Memory,
    /// The position on each axis.
    pub(super) axes: Vec<Axis>,
    pub(super) lane: Option<usize>,
    /// What is known so far.
    values: Vec<Option<Value>>,
    /// Keeps names apart where one scope holds several positions.
    suffix: String,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        program: &'a Program,
        memory: &'a Memory,
        axes: Vec<Axis>,
        lane: Option<usize>,
    ) -> Self {
        // Totals are module variables, summed at the start of the entry point.
        let total = |(i, expr): (usize, &Expr)| {
            matches!(expr, Expr::Total { .. }).then(|| narrow(format!("total{i}")))
        };
        Self {
            program,
            memory,
            axes,
            lane,
            values: program.exprs.iter().enumerate().map(total).collect(),
            suffix: String::new(),
        }
    }

    /// This emitter at another position, knowing the same.
    pub(super) fn at(&self, axes: Vec<Axis>, suffix: String) -> Self {
        Self {
            axes,
            suffix,
            ..self.clone()
        }
    }

    /// Takes over what another emitter knows that is valid here.
    pub(super) fn learn(&mut self, other: &Self) {
        for (mine, theirs) in self.values.iter_mut().zip(&other.values) {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }

    /// Makes a value known.
    pub(super) fn set(&mut self, id: ExprId, value: Value) {
        if let Some(slot) = self.values.get_mut(id.index()) {
            *slot = Some(value);
        }
    }

    /// Writes what `ids` need that is not known yet, in order.
    pub(super) fn emit(
        &mut self,
        out: &mut Writer,
        ids: impl IntoIterator<Item = ExprId>,
    ) -> Result<(), ShaderError> {
        let mut needed = vec![false; self.values.len()];
        let mut open: Vec<ExprId> = ids.into_iter().collect();
        while let Some(id) = open.pop() {
            let Some(mark) = needed.get_mut(id.index()) else {
                return Err(ShaderError::Unknown(id.index()));
            };
            if !*mark && !matches!(self.values.get(id.index()), Some(Some(_))) {
                *mark = true;
                open.extend(self.program.expr(id).map(Expr::uses).unwrap_or_default());
            }
        }
        for (i, expr) in self.program.exprs.iter().enumerate() {
            if needed.get(i) == Some(&true) {
                let value = self.write(out, i, expr)?;
                self.set(id_of(i), value);
            }
        }
        Ok(())
    }

    /// A known value.
    pub(super) fn get(&self, id: ExprId) -> Result<Value, ShaderError> {
        let value = self.values.get(id.index()).cloned().flatten();
        value.ok_or(ShaderError::Unknown(id.index()))
    }

    /// The dtype of an expression.
    pub(super) fn dtype(&self, id: ExprId) -> DType {
        let dtype = self.program.dtypes.get(id.index());
        dtype.copied().unwrap_or(DType::F32)
    }

    /// A value as a `vec4`, repeated if it is a scalar.
    pub(super) fn widened(&self, id: ExprId) -> Result<String, ShaderError> {
        let value = self.get(id)?;
        Ok(widen(&value, self.dtype(id)))
    }

    /// An index as `u32`, at the first of the four lanes.
    pub(super) fn position(&self, index: &Index) -> String {
        let axes: Vec<_> = self.axes.iter().map(|a| a.text.clone()).collect();
        index::text(index, &axes, &self.program.axes)
    }

    /// An index at lane `i` of the four.
    pub(super) fn position_at(&self, index: &Index, i: usize) -> String {
        let axes = self.axes.iter().enumerate();
        let axes: Vec<_> = axes
            .map(|(axis, a)| match self.lane {
                Some(lane) if lane == axis => format!("({} + {i}u)", a.text),
                _ => a.text.clone(),
            })
            .collect();
        index::text(index, &axes, &self.program.axes)
    }

    /// A quad of an operand: the index divided by four.
    pub(super) fn quad(&self, index: &Index) -> String {
        match index::quarter(index) {
            Some(quarter) => {
                let axes = self.axes.iter();
                let axes: Vec<_> = axes
                    .map(|a| a.quad.as_ref().unwrap_or(&a.text).clone())
                    .collect();
                index::text(&quarter, &axes, &self.program.axes)
            }
            None => format!("({} / 4u)", self.position(index)),
        }
    }

    /// Whether four lanes read four neighbours from a multiple of four on.
    pub(super) fn is_quad(&self, index: &Index) -> bool {
        self.lane.is_some_and(|lane| index::is_quad(index, lane))
    }

    pub(super) fn is_constant(&self, index: &Index) -> bool {
        self.lane.is_none_or(|lane| index::is_constant(index, lane))
    }

    /// Writes one expression and names it.
    fn write(&self, out: &mut Writer, i: usize, expr: &Expr) -> Result<Value, ShaderError> {
        let dtype = self.dtype(id_of(i));
        let value = match expr {
            Expr::Const(v) => return Ok(narrow(literal(*v))),
            Expr::Load {
                operand,
                index,
                guard,
            } => {
                let guard = guard.map(|g| self.get(g)).transpose()?;
                self.load(*operand, index, None, guard.as_ref())
            }
            Expr::LoadRow {
                operand,
                row,
                stride,
                index,
                guard,
            } => {
                let guard = guard.map(|g| self.get(g)).transpose()?;
                let row = (self.get(*row)?, super::small(*stride)?);
                self.load(*operand, index, Some(&row), guard.as_ref())
            }
            Expr::Index(index) => self.index(index),
            Expr::InRange { index, low, high } => in_range(&self.index(index), *low, *high),
            Expr::Random { stream, index } => self.random(*stream, index),
            Expr::StepWord(word) => narrow(format!("bitcast<f32>({})", step_word(*word))),
            Expr::Unary(op, x) => self.unary(*op, *x)?,
            Expr::Binary(op, a, b) => self.binary(*op, *a, *b)?,
            Expr::Select(c, a, b) => self.select(*c, *a, *b, dtype)?,
            Expr::Cast(x) => cast(&self.get(*x)?, self.dtype(*x), dtype),
            Expr::CheckIndex { x, .. } => {
                let x = (self.get(*x)?, self.dtype(*x));
                // The function takes and gives the bits of the index.
                let bits = cast(&x.0, x.1, DType::U32);
                let checked = call(&format!("check{i}"), "u32", &[&bits]);
                cast(&checked, DType::U32, x.1)
            }
            Expr::Total { .. } | Expr::Accumulator | Expr::Reduce(..) | Expr::ArgReduce(..) => {
                return Err(ShaderError::Unknown(i));
            }
        };
        let name = format!("v{i}{}", self.suffix);
        out.line(format_args!("let {name} = {};", value.text));
        Ok(Value {
            text: name,
            wide: value.wide,
        })
    }

    fn unary(&self, op: Unary, x: ExprId) -> Result<Value, ShaderError> {
        let (dtype, x) = (self.dtype(x), self.get(x)?);
        let special = match (op, dtype) {
            (Unary::Neg, DType::U32) => Some("(0u - x)"),
            (Unary::Sign, DType::U32) if x.wide => Some("min(x, vec4<u32>(1u))"),
            (Unary::Sign, DType::U32) => Some("min(x, 1u)"),
            (Unary::Not, DType::Bool) => Some("!x"),
            (Unary::Not, _) => Some("~x"),
            (Unary::Relu, _) if x.wide => Some("max(x, vec4<f32>())"),
            _ => None,
        };
        let template = special.unwrap_or_else(|| op.wgsl());
        let result = if op == Unary::IsNan {
            DType::Bool
        } else {
            dtype
        };
        Ok(match template.strip_prefix("g_") {
            Some(rest) => {
                let name = rest.split('(').next().unwrap_or(rest);
                call(&format!("g_{name}"), scalar(result), &[&x])
            }
            None => Value {
                text: substitute(template, &[("x", &x.text)]),
                wide: x.wide,
            },
        })
    }

    fn binary(&self, op: Binary, a: ExprId, b: ExprId) -> Result<Value, ShaderError> {
        let dtype = self.dtype(a);
        let is_wide = self.get(a)?.wide || self.get(b)?.wide;
        let special = match (op, dtype) {
            (Binary::Div, DType::F32) => Some("(a / b)"),
            (Binary::Rem, DType::F32) => Some("(a % b)"),
            (Binary::Xor, DType::Bool) => Some("(a != b)"),
            (Binary::Xor, _) => Some("(a ^ b)"),
            _ => None,
        };
        let template = special.unwrap_or_else(|| op.wgsl());
        if let Some(rest) = template.strip_prefix("g_") {
            let name = rest.split('(').next().unwrap_or(rest);
            let name = match dtype {
                DType::F32 => format!("g_{name}"),
                _ => format!("g_{name}_{}", scalar(dtype)),
            };
            return Ok(call(&name, scalar(dtype), &[&self.get(a)?, &self.get(b)?]));
        }
        let side = |x: ExprId| {
            if is_wide {
                self.widened(x)
            } else {
                self.get(x).map(|v| v.text)
            }
        };
        Ok(Value {
            text: substitute(template, &[("a", &side(a)?), ("b", &side(b)?)]),
            wide: is_wide,
        })
    }

    fn select(&self, c: ExprId, a: ExprId, b: ExprId, dtype: DType) -> Result<Value, ShaderError> {
        let [c, a, b] = [self.get(c)?, self.get(a)?, self.get(b)?];
        if !(c.wide || a.wide || b.wide) {
            return Ok(narrow(format!(
                "select({}, {}, {})",
                b.text, a.text, c.text
            )));
        }
        let [a, b] = [widen(&a, dtype), widen(&b, dtype)];
        Ok(wide(format!("select({b}, {a}, {})", c.text)))
    }
}

/// The id of an expression by its place.
pub(super) fn id_of(i: usize) -> ExprId {
    ExprId(u32::try_from(i).unwrap_or(u32::MAX))
}
