//! Programs with reductions.

use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::{DType, Expr, Index};

use super::bench::Memory;
use super::build::{Build, at, noise};
use super::check;

const EPS: f64 = f32::EPSILON as f64;

#[test]
fn cross_entropy_rows() {
    for (rows, classes) in [
        (1, 1),
        (64, 10),
        (7, 257),
        (3, 1000),
        (2, 5000),
        (2, 20_000),
        (600, 3),
    ] {
        let mut b = Build::new(&[rows, classes], 1);
        let here = at(0, &[classes as i64, 1]);
        let x = b.load(0, here.clone());
        let peak = b.reduce(Reduction::Max, x);
        let centered = b.binary(Binary::Sub, x, peak);
        let e = b.unary(Unary::Exp, centered);
        let total = b.reduce(Reduction::Sum, e);
        let label = b.load_as(1, Index::axis(0), DType::I32);
        let label = b.push(
            Expr::CheckIndex {
                bound: classes as u32,
                site: 0,
                x: label,
            },
            DType::I32,
        );
        let column = b.push(Expr::Index(Index::axis(1)), DType::I32);
        let hot = b.binary(Binary::Eq, column, label);
        let zero = b.constant(0f32);
        let picked = b.select(hot, centered, zero);
        let picked = b.reduce(Reduction::Sum, picked);
        let log = b.unary(Unary::Log, total);
        let loss = b.binary(Binary::Sub, log, picked);
        let soft = b.binary(Binary::Div, e, total);
        let hot = b.cast(hot, DType::F32);
        let dx = b.binary(Binary::Sub, soft, hot);
        let best = b.arg(Reduction::Max, x);
        b.store(0, here, dx);
        b.store(2, Index::axis(0), loss);
        b.store(3, Index::axis(0), best);
        let labels = (0..rows as u32).map(|i| i * 31 % classes as u32).collect();
        let memory = [
            Memory::floats(&noise(rows * classes, 5)).in_place(),
            Memory::words(labels, DType::I32),
            Memory::out(rows, DType::F32),
            Memory::out(rows, DType::I32),
        ];
        check(&b.program, &memory, 8.0 * EPS);
    }
}

#[test]
fn column_sums() {
    for (m, n) in [
        (1, 1),
        (64, 128),
        (1000, 7),
        (257, 257),
        (3000, 8),
        (5, 1000),
    ] {
        let mut b = Build::new(&[n, m], 1);
        let x = b.load(0, at(0, &[1, n as i64]));
        let bias = b.load(1, Index::axis(0));
        let y = b.binary(Binary::Mul, x, bias);
        let sum = b.reduce(Reduction::Sum, y);
        let max = b.reduce(Reduction::Max, y);
        let first = b.arg(Reduction::Min, y);
        b.store(2, Index::axis(0), sum);
        b.store(3, Index::axis(0), max);
        b.store(4, Index::axis(0), first);
        let memory = [
            Memory::floats(&noise(m * n, 1)),
            Memory::floats(&noise(n, 2)),
            Memory::out(n, DType::F32),
            Memory::out(n, DType::F32),
            Memory::out(n, DType::I32),
        ];
        check(&b.program, &memory, 4.0 * EPS);
    }
}

#[test]
fn outer_and_inner_sums() {
    let (b_, c, h) = (6, 5, 37);
    let mut b = Build::new(&[c, b_, h], 1);
    let x = b.load(0, at(0, &[h as i64, (c * h) as i64, 1]));
    let sum = b.reduce(Reduction::Sum, x);
    let centered = b.binary(Binary::Sub, x, sum);
    b.store(1, Index::axis(0), sum);
    b.store(2, at(0, &[h as i64, (c * h) as i64, 1]), centered);
    let memory = [
        Memory::floats(&noise(b_ * c * h, 1)),
        Memory::out(c, DType::F32),
        Memory::out(b_ * c * h, DType::F32),
    ];
    check(&b.program, &memory, 4.0 * EPS);
}

#[test]
fn long_sums_stay_exact() {
    let n = 3_000_017;
    let mut b = Build::new(&[n], 0);
    let x = b.load(0, Index::axis(0));
    let sum = b.reduce(Reduction::Sum, x);
    b.store(1, Index::constant(0), sum);
    let values: Vec<f32> = noise(n, 1).iter().map(|x| x.abs()).collect();
    let memory = [Memory::floats(&values), Memory::out(1, DType::F32)];
    let outcome = super::bench::run(
        gradus_graph::plan::KernelKind::Program(b.program),
        &memory,
        &super::a_row(),
    );
    let truth: f64 = values.iter().map(|x| f64::from(*x)).sum();
    assert_eq!(outcome.floats(1)[0], truth as f32);
}

#[test]
fn integer_sums_wrap_and_ties_go_to_the_first() {
    let words: Vec<u32> = (0..100u32).map(|i| i.wrapping_mul(0x4000_0001)).collect();
    let mut b = Build::new(&[4, 25], 1);
    let x = b.load_as(0, at(0, &[25, 1]), DType::U32);
    let sum = b.reduce(Reduction::Sum, x);
    b.store(1, Index::axis(0), sum);
    let three = b.constant(3u32);
    let tied = b.binary(Binary::And, x, three);
    let first = b.arg(Reduction::Max, tied);
    b.store(2, Index::axis(0), first);
    let low = b.arg(Reduction::Min, tied);
    b.store(3, Index::axis(0), low);
    let memory = [
        Memory::words(words, DType::U32),
        Memory::out(4, DType::U32),
        Memory::out(4, DType::I32),
        Memory::out(4, DType::I32),
    ];
    check(&b.program, &memory, 0.0);
}

#[test]
fn totals() {
    let mut b = Build::new(&[50], 1);
    let total = b.push(
        Expr::Total {
            operand: 0,
            count: 30,
        },
        DType::F32,
    );
    let x = b.load(1, Index::axis(0));
    let y = b.binary(Binary::Mul, x, total);
    b.store(2, Index::axis(0), y);
    let memory = [
        Memory::floats(&noise(30, 1)),
        Memory::floats(&noise(50, 2)),
        Memory::out(50, DType::F32),
    ];
    check(&b.program, &memory, 2.0 * EPS);
}
