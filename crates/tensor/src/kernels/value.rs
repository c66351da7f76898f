//! Values that statements named, and the WGSL of what is done with them.

use gradus_graph::{DType, Scalar};

use super::memory::scalar;

/// A value that a statement named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    /// Whether it is a `vec4` along the lane axis.
    pub(super) wide: bool,
}

const PARTS: [&str; 4] = ["x", "y", "z", "w"];

pub(super) fn narrow(text: String) -> Value {
    Value { text, wide: false }
}

pub(super) fn wide(text: String) -> Value {
    Value { text, wide: true }
}

/// A value for lane `i` of the four.
pub(super) fn part(value: &Value, i: usize) -> String {
    match (value.wide, PARTS.get(i)) {
        (true, Some(part)) => format!("{}.{part}", value.text),
        _ => value.text.clone(),
    }
}

pub(super) fn widen(value: &Value, dtype: DType) -> String {
    if value.wide {
        value.text.clone()
    } else {
        format!("vec4<{}>({})", scalar(dtype), value.text)
    }
}

/// A `vec4` from what each lane computes.
pub(super) fn compose(dtype: DType, one: impl Fn(usize) -> String) -> String {
    let parts = [0, 1, 2, 3].map(one);
    format!("vec4<{}>({})", scalar(dtype), parts.join(", "))
}

/// A call of a scalar function, once for each lane if an argument is wide.
pub(super) fn call(function: &str, result: &str, arguments: &[&Value]) -> Value {
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

pub(super) fn in_range(position: &Value, low: i64, high: i64) -> Value {
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

pub(super) fn cast(x: &Value, from: DType, to: DType) -> Value {
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
pub(super) fn substitute(template: &str, arguments: &[(&str, &String)]) -> String {
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
