//! Batched matrix product.

use gradus_graph::Shape;
use gradus_graph::ops::MatMul;

use super::tensor::{Float, Tensor, Values};

/// `y[b…, m, n] = Σₖ a[b…, m, k] · x[b…, k, n]`, each sum in ascending order of `k`.
pub(super) fn matmul<T: Float>(
    op: &MatMul,
    a: &Tensor<T>,
    b: &Tensor<T>,
    shape: Shape,
) -> Option<Tensor<T>> {
    let rank = shape.rank();
    let [m, n] = [shape[rank - 2], shape[rank - 1]];
    let k = a.shape()[if op.trans_a { rank - 2 } else { rank - 1 }];
    let (va, vb) = (a.floats()?, b.floats()?);
    let mut y = vec![T::of(0.0); shape.numel()];
    for batch in 0..shape.iter().take(rank - 2).product() {
        let a = &va[batch * m * k..][..m * k];
        let b = &vb[batch * k * n..][..k * n];
        let y = &mut y[batch * m * n..][..m * n];
        let b = if op.trans_b {
            transposed(b, n, k)
        } else {
            b.to_vec()
        };
        for row in 0..m {
            for i in 0..k {
                let a = if op.trans_a {
                    a[i * m + row]
                } else {
                    a[row * k + i]
                };
                let b = &b[i * n..][..n];
                for (y, &b) in y[row * n..][..n].iter_mut().zip(b) {
                    *y = *y + a * b;
                }
            }
        }
    }
    Some(Tensor::of(shape, Values::Float(y)))
}

/// `[rows, cols] -> [cols, rows]`
fn transposed<T: Copy>(x: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..rows * cols)
        .map(|i| x[i % rows * cols + i / rows])
        .collect()
}
