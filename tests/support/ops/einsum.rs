//! Einstein's summation convention.

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let cases: [(&'static str, &[&[usize]]); 21] = [
        ("ij,jk->ik", &[&[3, 5], &[5, 7]]),
        ("bij,bjk->bik", &[&[2, 3, 5], &[2, 5, 7]]),
        ("bhqd,bhkd->bhqk", &[&[2, 3, 5, 4], &[2, 3, 7, 4]]),
        ("ji,kj->ik", &[&[5, 3], &[7, 5]]),
        ("ii->i", &[&[5, 5]]),
        ("ii", &[&[5, 5]]),
        ("iij->ji", &[&[3, 3, 4]]),
        ("iii->i", &[&[4, 4, 4]]),
        ("i,j->ij", &[&[3], &[4]]),
        ("i,i->i", &[&[5], &[5]]),
        ("...ij,...jk->...ik", &[&[2, 1, 3, 4], &[5, 4, 3]]),
        ("...i,i", &[&[2, 3, 4], &[4]]),
        ("...ii->...", &[&[2, 3, 3]]),
        ("i...,i...->...", &[&[4, 2, 1], &[4, 3]]),
        ("...i->i", &[&[2, 3, 4]]),
        ("ij,ij->ij", &[&[3, 1], &[3, 4]]),
        ("ab,bc,cd->da", &[&[2, 3], &[3, 4], &[4, 5]]),
        ("ijk,jl,kl->il", &[&[2, 3, 4], &[3, 5], &[4, 5]]),
        ("bA,Ba->", &[&[2, 3], &[4, 5]]),
        (" i j , j k -> k i ", &[&[1, 3], &[3, 1]]),
        (",ij->ji", &[&[], &[3, 4]]),
    ];
    let mut rows = Vec::new();
    for (equation, shapes) in cases {
        let inputs: Vec<Gen> = shapes.iter().map(|&dims| Gen::normal(dims)).collect();
        let built = row("einsum", inputs, move |g, x| g.einsum(equation, x));
        rows.push(built.note(equation).sums_over(257));
    }
    let ints = [Gen::i32s([3, 4], -9, 9), Gen::i32s([4, 2], -9, 9)];
    rows.push(
        row("einsum", ints, |g, x| g.einsum("ij,jk->ki", x))
            .note("i32")
            .parity_only(),
    );
    let none = [Gen::normal([3, 0]), Gen::normal([0, 4])];
    rows.push(row("einsum", none, |g, x| g.einsum("ij,jk", x)).note("of nothing"));
    rows
}
