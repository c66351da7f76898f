//! The gradient of a bias, which is computed beside that of the weight.

use gradus_graph::ops::Reduction;
use gradus_graph::plan::ConvKernel;
use gradus_graph::{DType, Expr, ExprId, Index, Program, Store};

/// `to[c] = Σ y[n, c, p]` over all images and positions.
pub(super) fn row_sum(kernel: &ConvKernel, y: usize, to: usize) -> Program {
    let conv = &kernel.conv;
    let channels = conv.groups * conv.outputs;
    let positions: usize = conv.windows.iter().map(|w| w.output).product();
    let sizes = [kernel.images, channels, positions];
    let index = Index::linear(&[Index::axis(1), Index::axis(0), Index::axis(2)], &sizes);
    Program {
        axes: vec![channels, kernel.images, positions],
        kept: 1,
        exprs: vec![
            Expr::Load {
                operand: y,
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
