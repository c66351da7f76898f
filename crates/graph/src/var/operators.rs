//! Pointwise methods and operators.

use std::ops::{Add, Div, Mul, Neg, Not, Rem, Shl, Shr, Sub};

use super::{Operand, Var};
use crate::ops::{Binary, Unary};

macro_rules! methods {
    (unary { $($u:ident => $uop:ident: $udoc:literal,)* } binary { $($b:ident => $bop:ident: $bdoc:literal,)* }) => {
        impl<'g> Var<'g> {
            $(#[doc = $udoc]
            #[track_caller]
            pub fn $u(self) -> Self {
                self.unary(Unary::$uop)
            })*
            $(#[doc = $bdoc]
            #[track_caller]
            pub fn $b(self, other: impl Operand<'g>) -> Self {
                self.binary(Binary::$bop, other)
            })*
        }
    };
}

methods! {
    unary {
    abs => Abs: "`|x|`; the derivative at 0 is 0.",
    sign => Sign: "−1, 0 or 1.",
    exp => Exp: "`eˣ`",
    expm1 => Expm1: "`eˣ − 1`, exact near 0.",
    log => Log: "Natural logarithm.",
    log1p => Log1p: "`ln(1 + x)`, exact near 0.",
    sqrt => Sqrt: "`√x`",
    rsqrt => Rsqrt: "`1/√x`",
    recip => Recip: "`1/x`",
    square => Square: "`x²`",
    sin => Sin: "Sine of radians.",
    cos => Cos: "Cosine of radians.",
    tanh => Tanh: "Hyperbolic tangent.",
    sigmoid => Sigmoid: "`1 / (1 + e⁻ˣ)`",
    erf => Erf: "The error function.",
    relu => Relu: "`max(x, 0)`; the derivative at 0 is 0.",
    floor => Floor: "Largest integer not above.",
    ceil => Ceil: "Smallest integer not below.",
    round => Round: "Nearest integer, halves to even.",
    bf16 => Bf16: "The nearest bfloat16, as `f32`; the gradient passes unchanged.",
    is_nan => IsNan: "True for NaN.",
    }
    binary {
    pow => Pow: "`xʸ`",
    maximum => Max: "The larger; ties split the gradient.",
    minimum => Min: "The smaller; ties split the gradient.",
    eq => Eq: "`x = y`, bool.",
    ne => Ne: "`x ≠ y`, bool.",
    lt => Lt: "`x < y`, bool.",
    le => Le: "`x ≤ y`, bool.",
    gt => Gt: "`x > y`, bool.",
    ge => Ge: "`x ≥ y`, bool.",
    and => And: "Bitwise, or logical, and.",
    or => Or: "Bitwise, or logical, or.",
    xor => Xor: "Bitwise, or logical, exclusive or.",
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident),*) => {$(
        impl<'g, T: Operand<'g>> $trait<T> for Var<'g> {
            type Output = Var<'g>;
            #[track_caller]
            fn $method(self, other: T) -> Var<'g> {
                self.binary(Binary::$op, other)
            }
        }
        operators!(@left $trait $method $op f32 f64 i32 u32);
    )*};
    (@left $trait:ident $method:ident $op:ident $($t:ty)*) => {$(
        impl<'g> $trait<Var<'g>> for $t {
            type Output = Var<'g>;
            #[track_caller]
            fn $method(self, other: Var<'g>) -> Var<'g> {
                self.operand(other).binary(Binary::$op, other)
            }
        }
    )*};
}

operators!(Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem, Shl shl Shl, Shr shr Shr);

impl<'g> Neg for Var<'g> {
    type Output = Self;
    #[track_caller]
    fn neg(self) -> Self {
        self.unary(Unary::Neg)
    }
}

impl<'g> Not for Var<'g> {
    type Output = Self;
    #[track_caller]
    fn not(self) -> Self {
        self.unary(Unary::Not)
    }
}
