//! Pointwise ops, comparisons, selection, conversion, index checks.

use gradus_graph::{DType, Var};

use super::{Gen, Row, row};

type F1 = for<'g> fn(Var<'g>) -> Var<'g>;
type F2 = for<'g> fn(Var<'g>, Var<'g>) -> Var<'g>;

/// The accuracy of WGSL's built-ins, in units of the last place; a bound on the absolute error
/// is counted for values near 1.
const EXP: f64 = 16.0;
const LOG: f64 = 4.0;
const SIN: f64 = 4096.0;
const TANH: f64 = 16.0;
const ERF: f64 = 16.0;
const POW: f64 = 64.0;
const DIV: f64 = 4.0;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = float_unary();
    rows.extend(float_binary());
    rows.extend(integers());
    rows.extend(logic());
    rows.extend(casts());
    rows
}

/// Away from whole numbers.
fn fraction(x: f64) -> bool {
    (0.05..0.95).contains(&x.rem_euclid(1.0))
}

/// Away from halves.
fn not_half(x: f64) -> bool {
    fraction(x + 0.5)
}

fn float_unary() -> Vec<Row> {
    let any = || Gen::normal([257]);
    let positive = || Gen::positive([257]);
    let table: Vec<(&'static str, Gen, f64, F1)> = vec![
        ("neg", any(), 0.0, |x| -x),
        ("abs", any().away_from_zero(), 0.0, |x| x.abs()),
        ("sign", any().away_from_zero(), 0.0, |x| x.sign()),
        ("exp", any(), EXP, |x| x.exp()),
        ("expm1", any(), EXP, |x| x.expm1()),
        ("log", positive(), LOG, |x| x.log()),
        ("log1p", positive(), LOG, |x| x.log1p()),
        ("sqrt", positive(), DIV, |x| x.sqrt()),
        ("rsqrt", positive(), DIV, |x| x.rsqrt()),
        ("recip", any().away_from_zero(), DIV, |x| x.recip()),
        ("square", any(), 0.0, |x| x.square()),
        ("sin", any(), SIN, |x| x.sin()),
        ("cos", any(), SIN, |x| x.cos()),
        ("tanh", any(), TANH, |x| x.tanh()),
        ("sigmoid", any(), EXP, |x| x.sigmoid()),
        ("erf", any(), ERF, |x| x.erf()),
        ("relu", any().away_from_zero(), 0.0, |x| x.relu()),
        ("floor", any().keeping(fraction), 0.0, |x| x.floor()),
        ("ceil", any().keeping(fraction), 0.0, |x| x.ceil()),
        ("round", any().keeping(not_half), 0.0, |x| x.round()),
    ];
    let mut rows: Vec<Row> = table
        .into_iter()
        .map(|(name, input, ulps, f)| row(name, [input], move |_, x| f(x[0])).ulps(ulps))
        .collect();
    // Safe domains: nothing overflows where the function does not.
    let wide = || Gen::uniform([1031], -80.0, 80.0);
    let tails: [(&str, F1); 4] = [
        ("tanh", |x| x.tanh()),
        ("sigmoid", |x| x.sigmoid()),
        ("erf", |x| x.erf()),
        ("expm1", |x| (-x.abs()).expm1()),
    ];
    for (name, f) in tails {
        let wide = row(name, [wide()], move |_, x| f(x[0])).ulps(EXP);
        rows.push(wide.note("far from 0").parity_only());
    }
    let halves = Gen::floats(
        [12],
        &[
            -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.0, 3.0, -3.0, 7.25, -7.75, 1e9,
        ],
    );
    rows.push(
        row("round", [halves], |_, x| x[0].round())
            .note("halves to even")
            .parity_only(),
    );
    let kinks = || Gen::floats([7], &[0.0, -1.0, 1.0, 0.0, 3.0, -2.0, 6.0]);
    let at_kinks: [(&str, F1); 3] = [
        ("relu", |x| x.relu()),
        ("abs", |x| x.abs()),
        ("sign", |x| x.sign()),
    ];
    for (name, f) in at_kinks {
        rows.push(
            row(name, [kinks()], move |_, x| f(x[0]))
                .note("at the kink")
                .parity_only(),
        );
    }
    for size in [0, 1, 7, 70_001] {
        rows.push(row("tanh", [Gen::normal([size])], |_, x| x[0].tanh()).ulps(TANH));
    }
    rows.push(row("square", [Gen::normal(())], |_, x| x[0].square()).note("scalar"));
    let nan = Gen::floats([6], &[0.0, f32::NAN, 1.0, -f32::NAN, f32::MAX, -0.0]);
    rows.push(row("is_nan", [nan], |_, x| x[0].is_nan()).parity_only());
    rows.push(row("stop_gradient", [any()], |_, x| x[0].stop_gradient() * 2.0).parity_only());
    rows
}

fn float_binary() -> Vec<Row> {
    let any = || Gen::normal([257]);
    let below = || any().keeping(|x| (0.0..0.4).contains(&x.rem_euclid(1.0)));
    let above = || any().keeping(|x| (0.5..0.9).contains(&x.rem_euclid(1.0)));
    let beside = || Gen::uniform([257], -1.7, 1.7).keeping(|x| x.abs() > 1.2);
    let near_one = || Gen::uniform([257], -1.1, 1.1).keeping(|x| x.abs() > 0.9);
    let table: Vec<(&'static str, [Gen; 2], f64, F2)> = vec![
        ("add", [any(), any()], 0.0, |a, b| a + b),
        ("sub", [any(), any()], 0.0, |a, b| a - b),
        ("mul", [any(), any()], 0.0, |a, b| a * b),
        (
            "div",
            [any(), any().keeping(|x| x.abs() > 0.3)],
            DIV,
            |a, b| a / b,
        ),
        ("rem", [beside(), near_one()], DIV, |a, b| a % b),
        ("pow", [Gen::positive([257]), any()], POW, |a, b| a.pow(b)),
        ("maximum", [below(), above()], 0.0, |a, b| a.maximum(b)),
        ("minimum", [below(), above()], 0.0, |a, b| a.minimum(b)),
    ];
    let mut rows: Vec<Row> = table
        .into_iter()
        .map(|(name, inputs, ulps, f)| row(name, inputs, move |_, x| f(x[0], x[1])).ulps(ulps))
        .collect();
    let signed = || Gen::uniform([257], -3.0, 3.0).keeping(|x| x.abs() > 0.5);
    rows.push(
        row("pow", [signed()], |_, x| x[0].pow(3.0))
            .note("cube of negative")
            .ulps(POW),
    );
    rows.push(
        row("pow", [signed()], |_, x| x[0].pow(-2.0))
            .note("negative exponent")
            .ulps(POW),
    );
    let zeros = Gen::floats([6], &[0.0, 1.0, 2.0, 0.0, 4.0, 9.0]);
    let exponents = Gen::floats([6], &[0.0, 0.0, 3.0, 2.0, 0.5, -0.5]);
    rows.push(
        row("pow", [zeros, exponents], |_, x| x[0].pow(x[1]))
            .note("zeros")
            .ulps(POW)
            .parity_only(),
    );
    let ties = || Gen::floats([33], &[1.0, 2.0, 2.0, -1.0]);
    rows.push(
        row(
            "maximum",
            [ties(), Gen::floats([33], &[1.0, 2.0, 0.0])],
            |_, x| x[0].maximum(x[1]),
        )
        .note("ties")
        .parity_only(),
    );
    let broadcasts: [([Gen; 2], &str); 5] = [
        ([Gen::normal([3, 1, 4]), Gen::normal([5, 1])], ""),
        ([Gen::normal([7, 257]), Gen::normal([257])], "row"),
        ([Gen::normal([257, 7]), Gen::normal([257, 1])], "column"),
        ([Gen::normal([2, 0, 3]), Gen::normal([1, 3])], "empty"),
        ([Gen::normal(()), Gen::normal([2, 3])], "scalar"),
    ];
    for (inputs, note) in broadcasts {
        // A gradient sums over the axes that were broadcast.
        let built = row("mul", inputs, |_, x| x[0] * x[1]).note(note);
        rows.push(built.sums_over(257));
    }
    rows.push(
        row(
            "add",
            [Gen::normal([70_001, 3]), Gen::normal([3])],
            |_, x| x[0] + x[1],
        )
        .note("bias")
        .sums_over(70_001),
    );
    let compared = || {
        [
            Gen::floats([37], &[0.0, 1.0, 2.0, -0.0]),
            Gen::floats([37], &[0.0, 1.0, 3.0]),
        ]
    };
    let comparisons: [(&str, F2); 6] = [
        ("eq", |a, b| a.eq(b)),
        ("ne", |a, b| a.ne(b)),
        ("lt", |a, b| a.lt(b)),
        ("le", |a, b| a.le(b)),
        ("gt", |a, b| a.gt(b)),
        ("ge", |a, b| a.ge(b)),
    ];
    for (name, f) in comparisons {
        rows.push(row(name, compared(), move |_, x| f(x[0], x[1])).parity_only());
        let ints = [Gen::any_i32([97]), Gen::any_i32([97])];
        rows.push(
            row(name, ints, move |_, x| f(x[0], x[1]))
                .note("i32")
                .parity_only(),
        );
        let ints = [Gen::any_u32([97]), Gen::any_u32([97])];
        rows.push(
            row(name, ints, move |_, x| f(x[0], x[1]))
                .note("u32")
                .parity_only(),
        );
    }
    for (name, f) in [("eq", comparisons[0].1), ("ne", comparisons[1].1)] {
        let bools = [Gen::bools([97]), Gen::bools([97])];
        rows.push(
            row(name, bools, move |_, x| f(x[0], x[1]))
                .note("bool")
                .parity_only(),
        );
    }
    let three = [Gen::bools([257]), Gen::normal([257]), Gen::normal([257])];
    rows.push(row("select", three, |_, x| x[0].select(x[1], x[2])));
    let three = [Gen::bools([5, 1]), Gen::normal([3]), Gen::normal([2, 1, 1])];
    rows.push(row("select", three, |_, x| x[0].select(x[1], x[2])).sums_over(15));
    let three = [Gen::bools([97]), Gen::any_i32([97])];
    rows.push(
        row("select", three, |_, x| x[0].select(x[1], 7))
            .note("i32")
            .parity_only(),
    );
    let three = [Gen::bools([97]), Gen::bools([97]), Gen::bools([97])];
    rows.push(
        row("select", three, |_, x| x[0].select(x[1], x[2]))
            .note("bool")
            .parity_only(),
    );
    rows
}

fn integers() -> Vec<Row> {
    let unary: [(&str, F1); 4] = [
        ("neg", |x| -x),
        ("sign", |x| x.sign()),
        ("square", |x| x.square()),
        ("not", |x| !x),
    ];
    let binary: [(&str, F2); 12] = [
        ("add", |a, b| a + b),
        ("sub", |a, b| a - b),
        ("mul", |a, b| a * b),
        ("div", |a, b| a / b),
        ("rem", |a, b| a % b),
        ("maximum", |a, b| a.maximum(b)),
        ("minimum", |a, b| a.minimum(b)),
        ("and", |a, b| a.and(b)),
        ("or", |a, b| a.or(b)),
        ("xor", |a, b| a.xor(b)),
        ("shl", |a, b| a << b),
        ("shr", |a, b| a >> b),
    ];
    let mut rows = vec![
        row("abs", [Gen::any_i32([1031])], |_, x| x[0].abs())
            .note("i32")
            .parity_only(),
    ];
    for (name, f) in unary {
        rows.push(
            row(name, [Gen::any_i32([1031])], move |_, x| f(x[0]))
                .note("i32")
                .parity_only(),
        );
        rows.push(
            row(name, [Gen::any_u32([1031])], move |_, x| f(x[0]))
                .note("u32")
                .parity_only(),
        );
    }
    for (name, f) in binary {
        let inputs = [Gen::any_i32([1031]), Gen::any_i32([1031])];
        rows.push(
            row(name, inputs, move |_, x| f(x[0], x[1]))
                .note("i32")
                .parity_only(),
        );
        let inputs = [Gen::any_u32([1031]), Gen::any_u32([1031])];
        rows.push(
            row(name, inputs, move |_, x| f(x[0], x[1]))
                .note("u32")
                .parity_only(),
        );
    }
    rows
}

fn logic() -> Vec<Row> {
    let binary: [(&str, F2); 3] = [
        ("and", |a, b| a.and(b)),
        ("or", |a, b| a.or(b)),
        ("xor", |a, b| a.xor(b)),
    ];
    let mut rows = vec![
        row("not", [Gen::bools([97])], |_, x| !x[0])
            .note("bool")
            .parity_only(),
    ];
    for (name, f) in binary {
        let inputs = [Gen::bools([97]), Gen::bools([97])];
        rows.push(
            row(name, inputs, move |_, x| f(x[0], x[1]))
                .note("bool")
                .parity_only(),
        );
    }
    rows
}

fn casts() -> Vec<Row> {
    let mut rows = Vec::new();
    let floats = || {
        let edges = [
            0.0,
            -0.0,
            0.7,
            -0.7,
            1e10,
            -1e10,
            2_147_483_500.0,
            4e9,
            -3.5,
            255.9,
            1e-20,
        ];
        Gen::floats([97], &edges)
    };
    let all = [
        (DType::F32, "f32"),
        (DType::I32, "i32"),
        (DType::U32, "u32"),
        (DType::Bool, "bool"),
    ];
    for (to, name) in all {
        let sources = [
            (floats(), "f32"),
            (Gen::any_i32([97]), "i32"),
            (Gen::any_u32([97]), "u32"),
            (Gen::bools([97]), "bool"),
        ];
        for (input, from) in sources {
            let built = row("cast", [input], move |_, x| x[0].cast(to));
            rows.push(built.note(&format!("{from} to {name}")).parity_only());
        }
    }
    // No gradient flows through integers, but it flows beside them.
    let beside = row(
        "cast",
        [Gen::uniform([257], 0.1, 9.0).keeping(fraction)],
        |_, x| x[0] * x[0].cast(DType::I32).cast(DType::F32),
    );
    rows.push(beside.note("there and back"));
    rows.push(
        row("check_index", [Gen::i32s([257], 0, 10)], |_, x| {
            x[0].check_index(10)
        })
        .parity_only(),
    );
    rows.push(
        row("check_index", [Gen::u32s([257], 10)], |_, x| {
            x[0].check_index(10)
        })
        .parity_only(),
    );
    rows
}
