//! Where programs read: broadcasts, strides, guards, divided and gathered indices.

use gradus_graph::ops::Binary;
use gradus_graph::{DType, Expr, Index};

use super::bench::Memory;
use super::build::{Build, at, noise};
use super::check;

const EPS: f64 = f32::EPSILON as f64;

/// A row, a column and a scalar are added to a matrix, part of which is read transposed.
#[test]
fn broadcast_and_strided() {
    for (m, n) in [
        (1, 1),
        (1, 7),
        (7, 1),
        (33, 65),
        (64, 10),
        (257, 3),
        (3, 2000),
        (100, 100),
    ] {
        let mut b = Build::new(&[m, n], 2);
        let x = b.load(0, at(0, &[1, m as i64]));
        let row = b.load(1, Index::axis(1));
        let col = b.load(2, Index::axis(0));
        let one = b.load(3, Index::constant(1));
        let s = b.binary(Binary::Add, x, row);
        let s = b.binary(Binary::Mul, s, col);
        let s = b.binary(Binary::Sub, s, one);
        b.store(4, at(0, &[n as i64, 1]), s);
        b.store(5, at(0, &[1, m as i64]), s);
        let memory = [
            Memory::floats(&noise(m * n, 1)),
            Memory::floats(&noise(n, 2)),
            Memory::floats(&noise(m, 3)),
            Memory::floats(&noise(2, 4)),
            Memory::out(m * n, DType::F32),
            Memory::out(m * n, DType::F32),
        ];
        check(&b.program, &memory, 2.0 * EPS);
    }
}

#[test]
fn guards_keep_reads_inside() {
    let n = 300;
    let mut b = Build::new(&[n], 1);
    let inside = b.push(
        Expr::InRange {
            index: at(-20, &[1]),
            low: 0,
            high: 250,
        },
        DType::Bool,
    );
    let x = b.push(
        Expr::Load {
            operand: 0,
            index: at(-20, &[1]),
            guard: Some(inside),
        },
        DType::F32,
    );
    let never = b.constant(false);
    let y = b.push(
        Expr::Load {
            operand: 0,
            index: at(99_999, &[1]),
            guard: Some(never),
        },
        DType::F32,
    );
    let z = b.binary(Binary::Add, x, y);
    b.store(1, Index::axis(0), z);
    check(
        &b.program,
        &[Memory::floats(&noise(250, 1)), Memory::out(n, DType::F32)],
        0.0,
    );
}

#[test]
fn divided_indices() {
    // A transposed reshape, split and joined; and one that stays divided.
    let sizes = [12, 35];
    let flat = at(0, &[35, 1]);
    for (inner, shift) in [(5, 0), (7, 0), (7, 3), (4, 0)] {
        let quotient = flat.shifted(shift).div(inner, &sizes);
        let rest = flat.shifted(shift).rem(inner, &sizes);
        let index = rest.scaled(120).plus(&quotient);
        let mut b = Build::new(&sizes, 2);
        let x = b.load(0, index);
        let i = b.push(Expr::Index(quotient), DType::I32);
        b.store(1, at(0, &[35, 1]), x);
        b.store(2, at(0, &[35, 1]), i);
        let memory = [
            Memory::floats(&noise(1000, 1)),
            Memory::out(420, DType::F32),
            Memory::out(420, DType::I32),
        ];
        check(&b.program, &memory, 0.0);
    }
}

#[test]
fn gathered_rows_and_bad_indices() {
    for (t, d) in [(5, 1), (17, 64), (300, 3)] {
        let mut rows: Vec<u32> = (0..t as u32).map(|i| i * 7 % 11).collect();
        rows[t / 2] = 11;
        rows[t - 1] = (-3i32) as u32;
        let mut b = Build::new(&[t, d], 2);
        let row = b.load_as(1, Index::axis(0), DType::I32);
        let row = b.push(
            Expr::CheckIndex {
                bound: 11,
                site: 1,
                x: row,
            },
            DType::I32,
        );
        let load = Expr::LoadRow {
            operand: 0,
            row,
            stride: d,
            index: Index::axis(1),
            guard: None,
        };
        let x = b.push(load, DType::F32);
        b.store(2, at(0, &[d as i64, 1]), x);
        let memory = [
            Memory::floats(&noise(11 * d, 1)),
            Memory::words(rows, DType::I32),
            Memory::out(t * d, DType::F32),
        ];
        let outcome = check(&b.program, &memory, 0.0);
        assert_eq!(outcome.report.errors, [0, (-3i32) as u32]);
    }
}
