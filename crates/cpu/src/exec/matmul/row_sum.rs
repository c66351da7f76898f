//! The sums of a product's rows, which are computed beside it.

use gradus_graph::ops::Reduction;
use gradus_graph::plan::{MatMulKernel, Matrix};
use gradus_graph::{DType, Expr, ExprId, Index, Program, Store};

/// `to[m] = Σₖ a[m, k]`
pub(super) fn row_sum(kernel: &MatMulKernel, to: usize) -> Program {
    let Matrix {
        operand,
        transposed,
        offset,
        row_stride,
        ..
    } = kernel.a;
    let signed = |v: usize| i64::try_from(v).unwrap_or(i64::MAX);
    let (stored_row, within) = if transposed { (1, 0) } else { (0, 1) };
    let index = Index::axis(stored_row)
        .scaled(signed(row_stride))
        .plus(&Index::axis(within))
        .shifted(signed(offset));
    Program {
        axes: vec![kernel.m, kernel.k],
        kept: 1,
        exprs: vec![
            Expr::Load {
                operand,
                index,
                guard: None,
            },
            Expr::Reduce(Reduction::Sum, ExprId(0)),
        ],
        dtypes: vec![DType::F32; 2],
        stores: vec![Store {
            operand: to,
            index: Index::axis(0),
            value: ExprId(1),
        }],
    }
}
