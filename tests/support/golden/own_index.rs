//! `own_index`: index and shape ops, sorts, scans, moments and einsum beside PyTorch.

use gradus_graph::{DType, Var};

use super::Case;
use super::own::{Part, cases_of, part};

pub(super) fn cases() -> Vec<Case> {
    let parts = [places(), orders(), shapes(), moments(), sums()];
    cases_of("own_index", &[], parts.into_iter().flatten())
}

fn places() -> Vec<(String, Part)> {
    vec![
        part("scatter.1", |_, x| x[0].scatter(x[2], x[1], 1)),
        part("scatter.0", |_, x| x[0].scatter(x[2], x[1], 0)),
        part("scatter_add.-1", |_, x| x[0].scatter_add(x[2], x[1], -1)),
        part("take_along_axis.1", |_, x| x[0].take_along_axis(x[1], 1)),
        part("index_select.1", |_, x| x[0].index_select(x[1], 1)),
        part("take", |_, x| x[0].take(x[1])),
        part("one_hot", |_, x| x[1].one_hot(5).matmul(x[0])),
        part("masked_fill", |_, x| x[0].masked_fill(x[1].gt(0), -2.0)),
    ]
}

fn orders() -> Vec<(String, Part)> {
    vec![
        part("sort", |_, x| x[0].sort(1).0),
        part("sort_descending", |_, x| x[0].sort_descending(0).0),
        part("argsort", |_, x| x[1] * x[0].argsort(1).cast(DType::F32)),
        part("topk", |_, x| x[0].topk(4, 1).0),
        part("topk_smallest", |_, x| x[0].topk_smallest(3, 0).0),
        part("median", |_, x| x[0].median(1).0),
        part("median_odd", |_, x| x[0].median(0).0),
        part("cumsum", |_, x| x[0].cumsum(1)),
        part("cumprod", |_, x| x[0].cumprod(-1)),
        part("cummax", |_, x| x[0].cummax(1).0),
    ]
}

fn shapes() -> Vec<(String, Part)> {
    vec![
        part("flip", |_, x| x[0].flip(&[0, 2])),
        part("roll", |_, x| x[0].roll(&[2, -1], &[0, 2])),
        part("roll_flat", |_, x| {
            x[0].flatten(0).roll(&[-8], &[0]).reshape([3, 5])
        }),
        part("repeat", |_, x| x[0].repeat(&[2, 1, 3])),
        part("tile", |_, x| x[0].tile(&[2])),
        part("repeat_interleave", |_, x| {
            x[0].repeat_interleave(&[2, 0, 3], 0)
        }),
        part("slice_step", |_, x| {
            x[0].slice_step(0, 1..8, 3).slice_step(1, 2.., 1)
        }),
        part("diagonal", |_, x| x[0].diagonal(1, 0, 2)),
        part("tril", |_, x| x[0].tril(-1)),
        part("triu", |_, x| x[0].triu(1)),
        part("stack", |_, x| x[0].stack(&[x[1]], 1)),
    ]
}

fn moments() -> Vec<(String, Part)> {
    let mut parts = vec![
        part("var", |_, x| x[0].var(&[0, 2], 1.0)),
        part("std_biased", |_, x| x[0].std(&[1], 0.0)),
        part("logsumexp", |_, x| x[0].logsumexp(&[1])),
        part("prod_zero", |_, x| x[0].prod(&[1])),
        part("amax_ties", |_, x| x[0].max(&[0, 2])),
    ];
    for p in [0.5, 1.0, 2.0, 3.0, f64::INFINITY, f64::NEG_INFINITY] {
        parts.push(part(&format!("norm.{p:?}"), move |_, x| {
            x[0].norm(&[0, 1], p)
        }));
    }
    parts
}

fn sums() -> Vec<(String, Part)> {
    let equations = [
        ("batched", "bij,bjk->bik"),
        ("turned", "ij,kj->ki"),
        ("heads", "bthd,bshd->bhts"),
        ("trace", "iji->j"),
        ("outer", "i,j->ij"),
        ("implicit", "ab,bc"),
        ("ellipsis", "...ij,jk->...ik"),
        ("bilinear", "bi,kij,bj->bk"),
    ];
    let einsum = |(name, equation): (&str, &'static str)| {
        part(&format!("einsum.{name}"), move |s, x: &[Var<'_>]| {
            s.graph().einsum(equation, x)
        })
    };
    equations.into_iter().map(einsum).collect()
}
