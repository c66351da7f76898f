//! Programs without reductions.

use std::sync::Arc;

use gradus_cpu::CpuRuntime;
use gradus_graph::backend::{ModelMemory, Runtime};
use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::plan::KernelKind;
use gradus_graph::{DType, Expr, Index};

use super::bench::Memory;
use super::build::{Build, at, noise};
use super::check;

const EPS: f64 = f32::EPSILON as f64;

#[test]
fn pointwise_at_awkward_sizes() {
    for n in [1, 2, 15, 257, 1000, 1024, 1025, 5000] {
        let mut b = Build::new(&[n], 1);
        let x = b.load(0, Index::axis(0));
        let y = b.load(1, Index::axis(0));
        let e = b.unary(Unary::Exp, x);
        let s = b.binary(Binary::Add, e, y);
        let w = b.push(Expr::StepWord(8), DType::F32);
        let s = b.binary(Binary::Mul, s, w);
        b.store(2, Index::axis(0), s);
        let memory = [
            Memory::floats(&noise(n, 1)),
            Memory::floats(&noise(n, 2)),
            Memory::out(n, DType::F32),
        ];
        check(&b.program, &memory, 4.0 * EPS);
    }
}

#[test]
fn every_float_op() {
    let x = noise(700, 3);
    for op in Unary::ALL.iter().filter(|op| **op != Unary::Not) {
        let mut b = Build::new(&[700], 1);
        let mut v = b.load(0, Index::axis(0));
        if matches!(op, Unary::Log | Unary::Sqrt | Unary::Rsqrt | Unary::Log1p) {
            v = b.unary(Unary::Abs, v);
        }
        let y = b.unary(*op, v);
        b.store(1, Index::axis(0), y);
        let dtype = b.dtype(y);
        check(
            &b.program,
            &[Memory::floats(&x), Memory::out(700, dtype)],
            4.0 * EPS,
        );
    }
    for op in Binary::ALL {
        if matches!(
            op,
            Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr
        ) {
            continue;
        }
        for splat in 0..3 {
            let mut b = Build::new(&[700], 1);
            let mut a = b.load(0, Index::axis(0));
            if *op == Binary::Pow {
                a = b.unary(Unary::Abs, a);
            }
            let c = b.constant(0.75f32);
            let d = b.load(0, at(699, &[-1]));
            let (l, r) = [(a, d), (a, c), (c, d)][splat];
            let y = b.binary(*op, l, r);
            b.store(1, Index::axis(0), y);
            let dtype = b.dtype(y);
            check(
                &b.program,
                &[Memory::floats(&x), Memory::out(700, dtype)],
                4.0 * EPS,
            );
        }
    }
}

#[test]
fn every_int_and_bool_op() {
    let words: Vec<u32> = (0..300u32)
        .map(|i| i.wrapping_mul(0x9E37_79B9) >> (i % 31))
        .collect();
    for dtype in [DType::I32, DType::U32] {
        for op in [
            Unary::Neg,
            Unary::Abs,
            Unary::Sign,
            Unary::Square,
            Unary::Not,
        ] {
            let mut b = Build::new(&[300], 1);
            let x = b.load_as(0, Index::axis(0), dtype);
            let y = b.unary(op, x);
            b.store(1, Index::axis(0), y);
            check(
                &b.program,
                &[Memory::words(words.clone(), dtype), Memory::out(300, dtype)],
                0.0,
            );
        }
        for op in Binary::ALL.iter().filter(|op| **op != Binary::Pow) {
            let mut b = Build::new(&[300], 1);
            let x = b.load_as(0, Index::axis(0), dtype);
            let y = b.load_as(0, at(299, &[-1]), dtype);
            let z = b.binary(*op, x, y);
            b.store(1, Index::axis(0), z);
            let out = b.dtype(z);
            check(
                &b.program,
                &[Memory::words(words.clone(), dtype), Memory::out(300, out)],
                0.0,
            );
        }
    }
    let truths: Vec<u32> = words.iter().map(|w| w & 1).collect();
    for op in [Binary::And, Binary::Or, Binary::Xor, Binary::Eq, Binary::Ne] {
        let mut b = Build::new(&[300], 1);
        let x = b.load_as(0, Index::axis(0), DType::Bool);
        let y = b.load_as(0, at(299, &[-1]), DType::Bool);
        let x = b.unary(Unary::Not, x);
        let z = b.binary(op, x, y);
        b.store(1, Index::axis(0), z);
        check(
            &b.program,
            &[
                Memory::words(truths.clone(), DType::Bool),
                Memory::out(300, DType::Bool),
            ],
            0.0,
        );
    }
}

#[test]
fn casts() {
    let floats: Vec<u32> = [
        0.0,
        -0.0,
        0.5,
        -1.5,
        3e9,
        -3e9,
        1e20,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        7.99,
    ]
    .map(f32::to_bits)
    .to_vec();
    let ints = vec![0, 1, 2, u32::MAX, 0x8000_0000, 16_777_217, 5, 6, 7, 8, 9];
    let bools = vec![0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1];
    let sources = [
        (DType::F32, floats),
        (DType::I32, ints.clone()),
        (DType::U32, ints),
        (DType::Bool, bools),
    ];
    for (from, words) in &sources {
        for to in [DType::F32, DType::I32, DType::U32, DType::Bool] {
            let mut b = Build::new(&[11], 1);
            let x = b.load_as(0, Index::axis(0), *from);
            let y = b.cast(x, to);
            b.store(1, Index::axis(0), y);
            check(
                &b.program,
                &[Memory::words(words.clone(), *from), Memory::out(11, to)],
                0.0,
            );
        }
    }
}

#[test]
fn nan_and_infinity() {
    let special = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        1.0,
        -1.0,
        1e-40,
    ];
    let ops = [
        Unary::Relu,
        Unary::Exp,
        Unary::Log,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Erf,
        Unary::Sign,
        Unary::Sqrt,
        Unary::Expm1,
        Unary::Log1p,
    ];
    for op in ops {
        let mut b = Build::new(&[8], 1);
        let x = b.load(0, Index::axis(0));
        let y = b.unary(op, x);
        b.store(1, Index::axis(0), y);
        check(
            &b.program,
            &[Memory::floats(&special), Memory::out(8, DType::F32)],
            EPS,
        );
    }
    for op in [
        Binary::Max,
        Binary::Min,
        Binary::Eq,
        Binary::Ne,
        Binary::Lt,
        Binary::Ge,
    ] {
        let mut b = Build::new(&[8, 8], 2);
        let x = b.load(0, Index::axis(0));
        let y = b.load(0, Index::axis(1));
        let z = b.binary(op, x, y);
        b.store(1, at(0, &[8, 1]), z);
        let dtype = b.dtype(z);
        check(
            &b.program,
            &[Memory::floats(&special), Memory::out(64, dtype)],
            EPS,
        );
    }
    for op in [Reduction::Max, Reduction::Min, Reduction::Sum] {
        let mut b = Build::new(&[40], 0);
        let x = b.load(0, Index::axis(0));
        let y = b.reduce(op, x);
        b.store(1, Index::constant(0), y);
        let mut values = noise(40, 9);
        values[33] = f32::NAN;
        check(
            &b.program,
            &[Memory::floats(&values), Memory::out(1, DType::F32)],
            EPS,
        );
    }
}

#[test]
fn large_angles() {
    let x: Vec<f32> = (0..600).map(|i| (i as f32 - 300.0) * 1e4).collect();
    for op in [Unary::Sin, Unary::Cos] {
        let mut b = Build::new(&[600], 1);
        let v = b.load(0, Index::axis(0));
        let y = b.unary(op, v);
        b.store(1, Index::axis(0), y);
        check(
            &b.program,
            &[Memory::floats(&x), Memory::out(600, DType::F32)],
            2.0 * EPS,
        );
    }
}

#[test]
fn random_bits_and_dropout() {
    for n in [1, 5, 100, 3000] {
        let mut b = Build::new(&[n], 1);
        let bits = b.push(
            Expr::Random {
                stream: 77 << 40 | 5,
                index: at(3, &[1]),
            },
            DType::U32,
        );
        let shift = b.constant(8u32);
        let high = b.binary(Binary::Shr, bits, shift);
        let high = b.cast(high, DType::F32);
        let limit = b.constant(0.3f32 * (1u32 << 24) as f32);
        let keep = b.binary(Binary::Ge, high, limit);
        let x = b.load(0, Index::axis(0));
        let zero = b.constant(0f32);
        let y = b.select(keep, x, zero);
        b.store(1, Index::axis(0), y);
        b.store(2, Index::axis(0), bits);
        let memory = [
            Memory::floats(&noise(n, 1)),
            Memory::out(n, DType::F32),
            Memory::out(n, DType::U32),
        ];
        check(&b.program, &memory, 0.0);
    }
}

/// Adam over a slab, in place, with uniform values from the step row.
#[test]
fn optimizer_in_place() {
    let n = 3001;
    let mut b = Build::new(&[n], 1);
    let i = Index::axis(0);
    let [w, g, m, v] = [0, 1, 2, 3].map(|o| b.load(o, i.clone()));
    let [b1, c1, eps] = [0.9f32, 0.1, 1e-8].map(|c| b.constant(c));
    let rate = b.push(Expr::StepWord(8), DType::F32);
    let m1 = b.binary(Binary::Mul, m, b1);
    let g1 = b.binary(Binary::Mul, g, c1);
    let m1 = b.binary(Binary::Add, m1, g1);
    let g2 = b.unary(Unary::Square, g);
    let v1 = b.binary(Binary::Add, v, g2);
    let root = b.unary(Unary::Sqrt, v1);
    let root = b.binary(Binary::Add, root, eps);
    let update = b.binary(Binary::Div, m1, root);
    let update = b.binary(Binary::Mul, update, rate);
    let w1 = b.binary(Binary::Sub, w, update);
    b.store(0, i.clone(), w1);
    b.store(2, i.clone(), m1);
    b.store(3, i, v1);
    let positive: Vec<f32> = noise(n, 4).iter().map(|x| x.abs()).collect();
    let memory = [
        Memory::floats(&noise(n, 1)).in_place(),
        Memory::floats(&noise(n, 2)),
        Memory::floats(&noise(n, 3)).in_place(),
        Memory::floats(&positive).in_place(),
    ];
    check(&b.program, &memory, 4.0 * EPS);
}

/// Old values are stored elsewhere while their memory is overwritten.
#[test]
fn swap_in_place() {
    let n = 2000;
    let mut b = Build::new(&[n], 1);
    let x = b.load(0, Index::axis(0));
    let y = b.load(1, Index::axis(0));
    b.store(0, Index::axis(0), y);
    b.store(1, Index::axis(0), x);
    let memory = [
        Memory::floats(&noise(n, 1)).in_place(),
        Memory::floats(&noise(n, 2)).in_place(),
    ];
    check(&b.program, &memory, 0.0);
}

/// Cross-entropy with its gradient over the logits, in three passes.
/// Sums over the first and the last of three axes, as batch norm has.
/// More rows than any index type of 16 bits holds, enough work for threads, and a scalar.
#[test]
fn many_rows_and_none() {
    let n = 300_007;
    let mut b = Build::new(&[n], 1);
    let x = b.load(0, Index::axis(0));
    let mut y = x;
    for _ in 0..20 {
        y = b.unary(Unary::Neg, y);
        y = b.binary(Binary::Add, y, x);
    }
    b.store(1, Index::axis(0), y);
    check(
        &b.program,
        &[Memory::floats(&noise(n, 1)), Memory::out(n, DType::F32)],
        EPS,
    );
    let mut b = Build::new(&[], 0);
    let x = b.load(0, Index::constant(0));
    let y = b.unary(Unary::Square, x);
    b.store(1, Index::constant(0), y);
    check(
        &b.program,
        &[Memory::floats(&[3.0]), Memory::out(1, DType::F32)],
        0.0,
    );
}

/// Products and sums that run in one loop, with every mix of blocks and single values.
#[test]
fn pairs_of_ops() {
    let n = 2100;
    let ops = [Binary::Add, Binary::Sub, Binary::Mul];
    for case in 0..3 * 3 * 2 * 8 {
        let (inner, outer, flipped, mix) = (
            ops[case % 3],
            ops[case / 3 % 3],
            case / 9 % 2 == 1,
            case / 18,
        );
        let mut b = Build::new(&[n], 1);
        let [x, y, z] = [0, 1, 2].map(|i| match mix >> i & 1 {
            0 => b.load(i, Index::axis(0)),
            _ => b.push(Expr::StepWord(8 + i as u32 % 2), DType::F32),
        });
        let pair = b.binary(inner, x, y);
        let (l, r) = if flipped { (z, pair) } else { (pair, z) };
        let result = b.binary(outer, l, r);
        b.store(3, Index::axis(0), result);
        let memory = [
            Memory::floats(&noise(n, 1)),
            Memory::floats(&noise(n, 2)),
            Memory::floats(&noise(n, 3)),
            Memory::out(n, DType::F32),
        ];
        check(&b.program, &memory, 2.0 * EPS);
    }
}

/// A square uses a product twice, so that it cannot become a part of the square.
#[test]
fn square_of_a_product() {
    let mut b = Build::new(&[100], 1);
    let x = b.load(0, Index::axis(0));
    let y = b.load(1, Index::axis(0));
    let z = b.binary(Binary::Mul, x, y);
    let z = b.unary(Unary::Square, z);
    let z = b.binary(Binary::Add, z, x);
    b.store(2, Index::axis(0), z);
    let memory = [
        Memory::floats(&noise(100, 1)),
        Memory::floats(&noise(100, 2)),
        Memory::out(100, DType::F32),
    ];
    check(&b.program, &memory, 2.0 * EPS);
}

/// Compiling goes through a program of any length without a deep stack.
#[test]
fn a_long_chain() {
    let chain = || {
        let mut b = Build::new(&[3], 1);
        let x = b.load(0, Index::axis(0));
        let mut y = x;
        for _ in 0..5000 {
            y = b.binary(Binary::Add, y, x);
            y = b.unary(Unary::Neg, y);
        }
        b.store(1, Index::axis(0), y);
        let memory = [
            Memory::floats(&[1.0, 2.0, -3.0]),
            Memory::out(3, DType::F32),
        ];
        let plan = super::bench::plan(KernelKind::Program(b.program), &memory, 0, 0);
        CpuRuntime::new(ModelMemory::default())
            .compile(Arc::new(plan))
            .unwrap();
    };
    let thread = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(chain);
    thread.unwrap().join().unwrap();
}
