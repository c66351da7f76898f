//! The expressions of a program as WGSL statements.
//!
//! With a *lane* axis, four neighbours along it are computed at once: the name of that axis stands
//! for the first of them, and an expression that varies along it is a `vec4`. All others stay
//! scalars and are computed once for the four.

use gradus_graph::ops::{Binary, Unary};
use gradus_graph::{DType, Expr, ExprId, Index, Program, Scalar, step_row};

use super::memory::{Memory, scalar, step_word};
use super::{ShaderError, Writer, index};

/// A value that a statement named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    /// Whether it is a `vec4` along the lane axis.
    pub(super) wide: bool,
}

/// Writes expressions at one position of the iteration space.
#[derive(Clone)]
pub(super) struct Emitter<'a> {
    pub(super) program: &'a Program,
    pub(super) memory: &'a Memory,
    /// The name of the position on each axis.
    pub(super) axes: Vec<String>,
    pub(super) lane: Option<usize>,
    /// What is known so far.
    values: Vec<Option<Value>>,
    /// Keeps names apart where one scope holds several positions.
    suffix: String,
}

const PARTS: [&str; 4] = ["x", "y", "z", "w"];

impl<'a> Emitter<'a> {
    pub(super) fn new(
        program: &'a Program,
        memory: &'a Memory,
        axes: Vec<String>,
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
    pub(super) fn at(&self, axes: Vec<String>, suffix: String) -> Self {
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

    /// The name of an index as `u32`, at the first of the four lanes.
    pub(super) fn position(&self, index: &Index) -> String {
        index::text(index, &self.axes, &self.program.axes)
    }

    /// The name of an index at lane `i` of the four.
    pub(super) fn position_at(&self, index: &Index, i: usize) -> String {
        let mut axes = self.axes.clone();
        if let Some(axis) = self.lane.and_then(|lane| axes.get_mut(lane)) {
            *axis = format!("({axis} + {i}u)");
        }
        index::text(index, &axes, &self.program.axes)
    }

    /// A quad of an operand: the index divided by four.
    pub(super) fn quad(&self, index: &Index) -> String {
        format!("({} / 4u)", self.position(index))
    }

    /// Whether four lanes read four neighbours from a multiple of four on.
    pub(super) fn is_quad(&self, index: &Index) -> bool {
        self.lane.is_some_and(|lane| index::is_quad(index, lane))
    }

    fn is_constant(&self, index: &Index) -> bool {
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

    fn load(
        &self,
        operand: usize,
        index: &Index,
        row: Option<&(Value, u32)>,
        guard: Option<&Value>,
    ) -> Value {
        let dtype = self.memory.dtype(operand);
        let varies = row.is_some_and(|(row, _)| row.wide) || guard.is_some_and(|g| g.wide);
        let rows = |i: usize, unit: u32| match row {
            Some((row, stride)) => {
                format!("u32({}) * {}u + ", part(row, i), stride / unit)
            }
            None => String::new(),
        };
        let guarded = |at: String, i: usize| match guard {
            Some(guard) => format!("select(0u, {at}, {})", part(guard, i)),
            None => at,
        };
        let zero = |loaded: String, wide: bool, i: usize| match guard {
            Some(guard) => {
                let ty = if wide {
                    format!("vec4<{}>", scalar(dtype))
                } else {
                    scalar(dtype).to_owned()
                };
                format!("select({ty}(), {loaded}, {})", part(guard, i))
            }
            None => loaded,
        };
        let stride_fits = row.is_none_or(|(_, stride)| stride.is_multiple_of(4));
        if self.is_quad(index) && !varies && stride_fits {
            let quad = guarded(format!("({}{})", rows(0, 4), self.quad(index)), 0);
            return wide(zero(self.memory.load4(operand, &quad), true, 0));
        }
        let one = |i: usize, at: String| {
            let at = guarded(format!("({}{at})", rows(i, 1)), i);
            zero(self.memory.load(operand, &at), false, i)
        };
        if self.is_constant(index) && !varies {
            return narrow(one(0, self.position(index)));
        }
        wide(compose(dtype, |i| one(i, self.position_at(index, i))))
    }

    /// A position as `i32`.
    fn index(&self, index: &Index) -> Value {
        if self.is_constant(index) {
            return narrow(format!("i32({})", self.position(index)));
        }
        if self.is_quad(index) {
            let first = self.position(index);
            return wide(format!("(i32({first}) + vec4<i32>(0, 1, 2, 3))"));
        }
        wide(compose(DType::I32, |i| {
            format!("i32({})", self.position_at(index, i))
        }))
    }

    fn random(&self, stream: u64, index: &Index) -> Value {
        let words = |quad: &str| {
            format!(
                "g_philox(vec2<u32>({}, {}), vec4<u32>({quad}, {}, {}u, {}u))",
                step_word(step_row::SEED_LOW),
                step_word(step_row::SEED_HIGH),
                step_word(step_row::STEP),
                stream & 0xffff_ffff,
                stream >> 32
            )
        };
        let one = |at: &str| format!("{}[{at} % 4u]", words(&format!("{at} / 4u")));
        if self.is_quad(index) {
            return wide(words(&self.quad(index)));
        }
        if self.is_constant(index) {
            return narrow(one(&self.position(index)));
        }
        wide(compose(DType::U32, |i| one(&self.position_at(index, i))))
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

fn narrow(text: String) -> Value {
    Value { text, wide: false }
}

fn wide(text: String) -> Value {
    Value { text, wide: true }
}

/// A value for lane `i` of the four.
fn part(value: &Value, i: usize) -> String {
    match (value.wide, PARTS.get(i)) {
        (true, Some(part)) => format!("{}.{part}", value.text),
        _ => value.text.clone(),
    }
}

fn widen(value: &Value, dtype: DType) -> String {
    if value.wide {
        value.text.clone()
    } else {
        format!("vec4<{}>({})", scalar(dtype), value.text)
    }
}

/// A `vec4` from what each lane computes.
fn compose(dtype: DType, one: impl Fn(usize) -> String) -> String {
    let parts = [0, 1, 2, 3].map(one);
    format!("vec4<{}>({})", scalar(dtype), parts.join(", "))
}

/// A call of a scalar function, once for each lane if an argument is wide.
fn call(function: &str, result: &str, arguments: &[&Value]) -> Value {
    let one = |i: usize| {
        let arguments: Vec<_> = arguments.iter().map(|a| part(a, i)).collect();
        format!("{function}({})", arguments.join(", "))
    };
    if arguments.iter().any(|a| a.wide) {
        let parts = [0, 1, 2, 3].map(one);
        wide(format!("vec4<{result}>({})", parts.join(", ")))
    } else {
        narrow(one(0))
    }
}

fn in_range(position: &Value, low: i64, high: i64) -> Value {
    let p = &position.text;
    let text = if position.wide {
        format!("(({p}) >= vec4<i32>({low})) & (({p}) < vec4<i32>({high}))")
    } else {
        format!("(({p}) >= {low}) & (({p}) < {high})")
    };
    Value {
        text,
        wide: position.wide,
    }
}

fn cast(x: &Value, from: DType, to: DType) -> Value {
    use DType::{Bool, F32, I32, U32};
    let plain = |ty: &str| {
        let text = if x.wide {
            format!("vec4<{ty}>({})", x.text)
        } else {
            format!("{ty}({})", x.text)
        };
        Value { text, wide: x.wide }
    };
    match (from, to) {
        (F32, I32) => call("g_f32_to_i32", "i32", &[x]),
        (F32, U32) => call("g_f32_to_u32", "u32", &[x]),
        (F32, Bool) => call("g_f32_to_bool", "bool", &[x]),
        _ if from == to => x.clone(),
        // Integers keep their bits, bool gives 0 or 1, and an integer is true if not 0.
        _ => plain(scalar(to)),
    }
}

/// A constant as WGSL.
pub(super) fn literal(v: Scalar) -> String {
    match v {
        Scalar::F32(_) => {
            let v = f32::from_bits(v.to_bits());
            if v.is_nan() {
                return "g_nan()".to_owned();
            }
            // WGSL has no infinity; graphs use the largest finite numbers in its place.
            let digits = if v.abs() >= f32::MAX {
                // The shortest decimal of the largest number is above it, which tint refuses.
                "0x1.fffffep+127f".to_owned()
            } else {
                format!("{:?}f", v.abs())
            };
            // Parentheses, since `--1.0` is no WGSL.
            if v.is_sign_negative() {
                format!("(-{digits})")
            } else {
                digits
            }
        }
        Scalar::I32(i32::MIN) => "(-2147483647 - 1)".to_owned(),
        Scalar::I32(v) => format!("i32({v})"),
        Scalar::U32(v) => format!("{v}u"),
        Scalar::Bool(v) => v.to_string(),
    }
}

/// A template with its arguments in place of the identifiers that name them.
fn substitute(template: &str, arguments: &[(&str, &String)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let end = if is_word(c) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            c.len_utf8()
        };
        let (word, after) = rest.split_at(end);
        let argument = arguments.iter().find(|(name, _)| *name == word);
        text.push_str(argument.map_or(word, |(_, value)| value));
        rest = after;
    }
    text
}
