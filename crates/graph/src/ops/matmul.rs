//! Batched matrix product.

use super::Meta;
use crate::{DType, Shape, Var};

/// `y[b…, m, n] = Σₖ a[b…, m, k] · x[b…, k, n]`; batch axes are equal.
///
/// With `trans_a` the left operand is stored as `[b…, K, M]`, with `trans_b` the right one as
/// `[b…, N, K]`. Users write a permutation; the passes fold it into these flags.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct MatMul {
    /// The left operand is stored transposed.
    pub trans_a: bool,
    /// The right operand is stored transposed.
    pub trans_b: bool,
}

impl MatMul {
    pub(crate) fn infer(&self, a: Meta, b: Meta) -> Result<Meta, String> {
        if a.dtype != DType::F32 || b.dtype != DType::F32 {
            return Err(format!(
                "expected f32 operands, found {} and {}",
                a.dtype, b.dtype
            ));
        }
        let rank = a.shape.rank();
        if rank < 2 || b.shape.rank() != rank || a.shape[..rank - 2] != b.shape[..rank - 2] {
            return Err(format!(
                "batch axes of lhs {} and rhs {} differ",
                a.shape, b.shape
            ));
        }
        let [m, ka] = matrix(&a.shape, self.trans_a);
        let [kb, n] = matrix(&b.shape, self.trans_b);
        if ka != kb {
            return Err(format!(
                "lhs {} has {ka} columns but rhs {} has {kb} rows",
                a.shape, b.shape
            ));
        }
        let shape = a.shape.with_axis(rank - 2, m).with_axis(rank - 1, n);
        let shape = Shape::try_new(&shape).ok_or("the product is too large")?;
        Ok(Meta::new(shape, DType::F32))
    }

    /// `da = dy xᵀ`, `dx = aᵀ dy`, each stored as its operand is.
    pub(crate) fn vjp<'g>(&self, a: Var<'g>, b: Var<'g>, dy: Var<'g>) -> [Var<'g>; 2] {
        let t = |x: Var<'g>, yes: bool| if yes { x.transpose() } else { x };
        let (ma, mb) = (t(a, self.trans_a), t(b, self.trans_b));
        let da = dy.matmul(mb.transpose());
        let db = ma.transpose().matmul(dy);
        [t(da, self.trans_a), t(db, self.trans_b)]
    }
}

/// Rows and columns of the logical matrices in a `[…, R, C]` tensor.
fn matrix(shape: &Shape, transposed: bool) -> [usize; 2] {
    let rank = shape.rank();
    let [r, c] = [shape[rank - 2], shape[rank - 1]];
    if transposed { [c, r] } else { [r, c] }
}
