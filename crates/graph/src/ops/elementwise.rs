//! Pointwise ops: one line is the whole op — its WGSL, its formula, its gradient.

use std::f64::consts::PI;

use super::Real;
use crate::{DType, Var};

/// Which dtypes an op takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Domain {
    Float,
    Number,
    Logic, // integers and bool
    Int,
    Any,
}

impl Domain {
    fn accepts(self, dtype: DType) -> bool {
        match self {
            Self::Float => dtype == DType::F32,
            Self::Number => dtype != DType::Bool,
            Self::Logic => dtype != DType::F32,
            Self::Int => dtype.is_int(),
            Self::Any => true,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Float => "f32",
            Self::Number => "f32, i32 or u32",
            Self::Logic => "i32, u32 or bool",
            Self::Int => "i32 or u32",
            Self::Any => "any dtype",
        }
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $op:ident = $name:literal, $domain:ident, wgsl($wgsl:literal), cpu(|$x:ident| $cpu:expr), vjp(|$vx:pat_param, $vy:pat_param, $dy:pat_param| $vjp:expr);)*) => {
        /// A pointwise op of one argument.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Unary { $($(#[$doc])* $op,)* }

        impl Unary {
            /// Every op.
            pub const ALL: &'static [Self] = &[$(Self::$op),*];

            /// The op's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$op => $name,)* }
            }

            /// The WGSL expression of `x`; names of the shader library stand for themselves.
            pub const fn wgsl(self) -> &'static str {
                match self { $(Self::$op => $wgsl,)* }
            }

            const fn domain(self) -> Domain {
                match self { $(Self::$op => Domain::$domain,)* }
            }

            /// The float formula.
            pub fn apply<T: Real>(self, x: T) -> T {
                match self { $(Self::$op => { let $x = x; $cpu })* }
            }

            /// The float formula for many arguments, each with the place of its result: one loop
            /// for each op, so that it can be vectorised.
            #[inline(always)]
            pub fn map<T: Real, O>(self, items: impl Iterator<Item = (T, O)>, put: impl Fn(O, T)) {
                match self { $(Self::$op => for ($x, place) in items { put(place, $cpu) })* }
            }

            /// The gradient of the argument; `None` if it is zero everywhere.
            pub(crate) fn vjp<'g>(self, x: Var<'g>, y: Var<'g>, dy: Var<'g>) -> Option<Var<'g>> {
                match self { $(Self::$op => { let ($vx, $vy, $dy) = (x, y, dy); $vjp })* }
            }
        }
    };
}

unary! {
    /// `−x`
    Neg = "neg", Number, wgsl("-x"), cpu(|x| -x), vjp(|_, _, dy| Some(-dy));
    /// `|x|`; the derivative at 0 is 0.
    Abs = "abs", Number, wgsl("abs(x)"), cpu(|x| x.abs()), vjp(|x, _, dy| Some(dy * x.sign()));
    /// −1, 0 or 1.
    Sign = "sign", Number, wgsl("sign(x)"),
        cpu(|x| if x > T::of(0.0) { T::of(1.0) } else if x < T::of(0.0) { T::of(-1.0) } else { x * T::of(0.0) }), vjp(|_, _, _| None);
    /// `eˣ`
    Exp = "exp", Float, wgsl("exp(x)"), cpu(|x| x.exp()), vjp(|_, y, dy| Some(dy * y));
    /// `eˣ − 1`, exact near 0.
    Expm1 = "expm1", Float, wgsl("g_expm1(x)"), cpu(|x| x.exp_m1()), vjp(|_, y, dy| Some(dy * (y + 1.0)));
    /// Natural logarithm.
    Log = "log", Float, wgsl("log(x)"), cpu(|x| x.ln()), vjp(|x, _, dy| Some(dy / x));
    /// `ln(1 + x)`, exact near 0.
    Log1p = "log1p", Float, wgsl("g_log1p(x)"), cpu(|x| x.ln_1p()), vjp(|x, _, dy| Some(dy / (x + 1.0)));
    /// `√x`
    Sqrt = "sqrt", Float, wgsl("sqrt(x)"), cpu(|x| x.sqrt()), vjp(|_, y, dy| Some(dy * 0.5 / y));
    /// `1/√x`
    Rsqrt = "rsqrt", Float, wgsl("inverseSqrt(x)"), cpu(|x| T::of(1.0) / x.sqrt()), vjp(|x, y, dy| Some(dy * -0.5 * y / x));
    /// `1/x`
    Recip = "recip", Float, wgsl("(1.0 / x)"), cpu(|x| T::of(1.0) / x), vjp(|_, y, dy| Some(-dy * y * y));
    /// `x²`
    Square = "square", Number, wgsl("(x * x)"), cpu(|x| x * x), vjp(|x, _, dy| Some(dy * 2.0 * x));
    /// Sine of radians.
    Sin = "sin", Float, wgsl("sin(x)"), cpu(|x| x.sin()), vjp(|x, _, dy| Some(dy * x.cos()));
    /// Cosine of radians.
    Cos = "cos", Float, wgsl("cos(x)"), cpu(|x| x.cos()), vjp(|x, _, dy| Some(-dy * x.sin()));
    /// Hyperbolic tangent.
    Tanh = "tanh", Float, wgsl("g_tanh(x)"), cpu(|x| x.tanh()), vjp(|_, y, dy| Some(dy * (1.0 - y * y)));
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid = "sigmoid", Float, wgsl("g_sigmoid(x)"),
        cpu(|x| { let e = (-x.abs()).exp(); T::select(x < T::of(0.0), e, T::of(1.0)) / (T::of(1.0) + e) }), vjp(|_, y, dy| Some(dy * (y * (1.0 - y))));
    /// The error function, `2/√π ∫₀ˣ e^(−t²) dt`.
    Erf = "erf", Float, wgsl("g_erf(x)"), cpu(|x| x.erf()), vjp(|x, _, dy| Some(dy * (-x.square()).exp() * (2.0 / PI.sqrt())));
    /// `max(x, 0)`; the derivative at 0 is 0, as in PyTorch. NaN stays NaN on the CPU.
    Relu = "relu", Float, wgsl("max(x, 0.0)"), cpu(|x| x.maximum(T::of(0.0))), vjp(|_, y, dy| Some(y.gt(0.0).select(dy, 0.0)));
    /// Largest integer not above.
    Floor = "floor", Float, wgsl("floor(x)"), cpu(|x| x.floor()), vjp(|_, _, _| None);
    /// Smallest integer not below.
    Ceil = "ceil", Float, wgsl("ceil(x)"), cpu(|x| x.ceil()), vjp(|_, _, _| None);
    /// Nearest integer, halves to even.
    Round = "round", Float, wgsl("round(x)"), cpu(|x| x.round()), vjp(|_, _, _| None);
    /// The nearest bfloat16 (the upper half of an `f32`), halves to even. What is too large becomes
    /// ∞, NaN stays NaN. The gradient passes as if nothing had been rounded.
    Bf16 = "bf16", Float, wgsl("g_bf16(x)"), cpu(|x| x.bf16()), vjp(|_, _, dy| Some(dy));
    /// Bitwise complement of integers, `not` of bool.
    Not = "not", Logic, wgsl("g_not(x)"), cpu(|x| x), vjp(|_, _, _| None);
    /// True for NaN, tested on the bits.
    IsNan = "is_nan", Float, wgsl("g_is_nan(x)"), cpu(|x| T::of(f64::from(u8::from(x.is_nan())))), vjp(|_, _, _| None);
}

impl Unary {
    pub(crate) fn infer(self, x: DType) -> Result<DType, String> {
        if !self.domain().accepts(x) {
            return Err(format!("expected {}, found {x}", self.domain().describe()));
        }
        Ok(if self == Self::IsNan { DType::Bool } else { x })
    }

    /// The formula on signed integers; arithmetic wraps.
    pub fn apply_i32(self, x: i32) -> i32 {
        match self {
            Self::Neg => x.wrapping_neg(),
            Self::Abs => x.wrapping_abs(),
            Self::Sign => x.signum(),
            Self::Square => x.wrapping_mul(x),
            Self::Not => !x,
            _ => x,
        }
    }

    /// The formula on unsigned integers; arithmetic wraps.
    pub fn apply_u32(self, x: u32) -> u32 {
        match self {
            Self::Neg => x.wrapping_neg(),
            Self::Sign => x.min(1),
            Self::Square => x.wrapping_mul(x),
            Self::Not => !x,
            _ => x,
        }
    }
}

macro_rules! binary {
    ($($(#[$doc:meta])* $op:ident = $name:literal, $domain:ident, wgsl($wgsl:literal), cpu(|$a:pat_param, $b:pat_param| $cpu:expr), vjp(|$va:pat_param, $vb:pat_param, $vy:pat_param, $dy:pat_param| $vjp:expr);)*) => {
        /// A pointwise op of two arguments of one shape and dtype.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Binary { $($(#[$doc])* $op,)* }

        impl Binary {
            /// Every op.
            pub const ALL: &'static [Self] = &[$(Self::$op),*];

            /// The op's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$op => $name,)* }
            }

            /// The WGSL expression of `a` and `b`.
            pub const fn wgsl(self) -> &'static str {
                match self { $(Self::$op => $wgsl,)* }
            }

            const fn domain(self) -> Domain {
                match self { $(Self::$op => Domain::$domain,)* }
            }

            /// The float formula; comparisons give 1 or 0.
            pub fn apply<T: Real>(self, a: T, b: T) -> T {
                match self { $(Self::$op => { let ($a, $b) = (a, b); $cpu })* }
            }

            /// As [`Unary::map`], for two arguments.
            #[inline(always)]
            pub fn map<T: Real, O>(self, items: impl Iterator<Item = (T, T, O)>, put: impl Fn(O, T)) {
                match self { $(Self::$op => for ($a, $b, place) in items { put(place, $cpu) })* }
            }

            /// The gradients of both arguments; `None` where zero everywhere.
            pub(crate) fn vjp<'g>(self, a: Var<'g>, b: Var<'g>, y: Var<'g>, dy: Var<'g>) -> [Option<Var<'g>>; 2] {
                match self { $(Self::$op => { let ($va, $vb, $vy, $dy) = (a, b, y, dy); $vjp })* }
            }
        }
    };
}

#[inline(always)]
fn truth<T: Real>(b: bool) -> T {
    T::of(if b { 1.0 } else { 0.0 })
}

binary! {
    /// `a + b`
    Add = "add", Number, wgsl("(a + b)"), cpu(|a, b| a + b), vjp(|_, _, _, dy| [Some(dy), Some(dy)]);
    /// `a − b`
    Sub = "sub", Number, wgsl("(a - b)"), cpu(|a, b| a - b), vjp(|_, _, _, dy| [Some(dy), Some(-dy)]);
    /// `a · b`
    Mul = "mul", Number, wgsl("(a * b)"), cpu(|a, b| a * b), vjp(|a, b, _, dy| [Some(dy * b), Some(dy * a)]);
    /// `a / b`; integers truncate, and dividing by 0 gives 0.
    Div = "div", Number, wgsl("g_div(a, b)"), cpu(|a, b| a / b), vjp(|_, b, y, dy| [Some(dy / b), Some(-dy * y / b)]);
    /// The remainder with the sign of `a`; integers give 0 when `b` is 0.
    Rem = "rem", Number, wgsl("g_rem(a, b)"), cpu(|a, b| a % b),
        vjp(|a, b, _, dy| [Some(dy), Some(-dy * (a / b).trunc())]);
    /// `aᵇ`; the gradient of `b` is 0 where `a` is 0.
    Pow = "pow", Float, wgsl("g_pow(a, b)"), cpu(|a, b| a.pow(b)),
        vjp(|a, b, y, dy| [Some(dy * b.eq(0.0).select(0.0, b * a.pow(b - 1.0))), Some(a.eq(0.0).select(0.0, dy * y * a.eq(0.0).select(1.0, a).log()))]);
    /// The larger; ties split the gradient evenly. NaN if either is NaN, on the CPU.
    Max = "maximum", Number, wgsl("max(a, b)"), cpu(|a, b| a.maximum(b)),
        vjp(|a, b, _, dy| [Some(share(a.gt(b), a.eq(b), dy)), Some(share(b.gt(a), a.eq(b), dy))]);
    /// The smaller; ties split the gradient evenly. NaN if either is NaN, on the CPU.
    Min = "minimum", Number, wgsl("min(a, b)"), cpu(|a, b| a.minimum(b)),
        vjp(|a, b, _, dy| [Some(share(a.lt(b), a.eq(b), dy)), Some(share(b.lt(a), a.eq(b), dy))]);
    /// `a = b`
    Eq = "eq", Any, wgsl("(a == b)"), cpu(|a, b| truth(a == b)), vjp(|_, _, _, _| [None, None]);
    /// `a ≠ b`
    Ne = "ne", Any, wgsl("(a != b)"), cpu(|a, b| truth(a != b)), vjp(|_, _, _, _| [None, None]);
    /// `a < b`
    Lt = "lt", Number, wgsl("(a < b)"), cpu(|a, b| truth(a < b)), vjp(|_, _, _, _| [None, None]);
    /// `a ≤ b`
    Le = "le", Number, wgsl("(a <= b)"), cpu(|a, b| truth(a <= b)), vjp(|_, _, _, _| [None, None]);
    /// `a > b`
    Gt = "gt", Number, wgsl("(a > b)"), cpu(|a, b| truth(a > b)), vjp(|_, _, _, _| [None, None]);
    /// `a ≥ b`
    Ge = "ge", Number, wgsl("(a >= b)"), cpu(|a, b| truth(a >= b)), vjp(|_, _, _, _| [None, None]);
    /// Bitwise, or logical, and.
    And = "and", Logic, wgsl("(a & b)"), cpu(|a, _| a), vjp(|_, _, _, _| [None, None]);
    /// Bitwise, or logical, or.
    Or = "or", Logic, wgsl("(a | b)"), cpu(|a, _| a), vjp(|_, _, _, _| [None, None]);
    /// Bitwise, or logical, exclusive or.
    Xor = "xor", Logic, wgsl("g_xor(a, b)"), cpu(|a, _| a), vjp(|_, _, _, _| [None, None]);
    /// `a · 2ᵇ`, shifts of 32 and more taken modulo 32.
    Shl = "shl", Int, wgsl("g_shl(a, b)"), cpu(|a, _| a), vjp(|_, _, _, _| [None, None]);
    /// `⌊a / 2ᵇ⌋` (arithmetic for i32), shifts of 32 and more taken modulo 32.
    Shr = "shr", Int, wgsl("g_shr(a, b)"), cpu(|a, _| a), vjp(|_, _, _, _| [None, None]);
}

/// `dy` where `wins`, half of it where `ties`.
fn share<'g>(wins: Var<'g>, ties: Var<'g>, dy: Var<'g>) -> Var<'g> {
    wins.select(dy, ties.select(dy * 0.5, 0.0))
}

impl Binary {
    /// True if the result is `Bool` whatever the arguments.
    pub const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge
        )
    }

    pub(crate) fn infer(self, a: DType, b: DType) -> Result<DType, String> {
        if a != b {
            return Err(format!("lhs is {a} but rhs is {b}; cast one of them"));
        }
        if !self.domain().accepts(a) {
            return Err(format!("expected {}, found {a}", self.domain().describe()));
        }
        Ok(if self.is_comparison() { DType::Bool } else { a })
    }

    /// The comparison's truth; false for ops that are not comparisons.
    pub fn compare<T: PartialOrd>(self, a: T, b: T) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::Lt => a < b,
            Self::Le => a <= b,
            Self::Gt => a > b,
            Self::Ge => a >= b,
            _ => false,
        }
    }

    /// The formula on signed integers.
    pub fn apply_i32(self, a: i32, b: i32) -> i32 {
        match self {
            Self::Div => a
                .checked_div(b)
                .unwrap_or(if b == 0 { 0 } else { i32::MIN }),
            Self::Rem => a.checked_rem(b).unwrap_or(0),
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::Shr => a.wrapping_shr(b.cast_unsigned()),
            _ => self
                .apply_u32(a.cast_unsigned(), b.cast_unsigned())
                .cast_signed(),
        }
    }

    /// The formula on unsigned integers.
    pub fn apply_u32(self, a: u32, b: u32) -> u32 {
        match self {
            Self::Add => a.wrapping_add(b),
            Self::Sub => a.wrapping_sub(b),
            Self::Mul => a.wrapping_mul(b),
            Self::Div => a.checked_div(b).unwrap_or(0),
            Self::Rem => a.checked_rem(b).unwrap_or(0),
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::Shl => a.wrapping_shl(b),
            Self::Shr => a.wrapping_shr(b),
            _ => a,
        }
    }

    /// The formula on truth values.
    pub fn apply_bool(self, a: bool, b: bool) -> bool {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            _ => self.compare(a, b),
        }
    }
}
