//! What attention means, in primitives.

use super::{Attention, AttentionPart, AttentionSizes, EXCLUDED, Heads};
use crate::{DType, Scalar, Var};

pub(super) fn expand<'g>(op: &Attention, x: &[Var<'g>]) -> Var<'g> {
    let matrices = Matrices::new(op, x);
    match op.part {
        AttentionPart::Output => matrices.output(),
        AttentionPart::LogSumExp => matrices.log_sum(),
        AttentionPart::Gradient(input) => {
            let first = op.first_of_gradient();
            matrices.gradient(input, [x[first], x[first + 1], x[first + 2]])
        }
    }
}

/// Heads as batches of matrices. Query heads that share a key head are rows of one matrix. Samples
/// and heads are one axis, so that a factor and the same one transposed lie in one place.
struct Matrices<'a, 'g> {
    op: &'a Attention,
    x: &'a [Var<'g>],
    sizes: AttentionSizes,
    /// `[B·G, R·T, D]`
    q: Var<'g>,
    /// `[B·G, S, D]`
    k: Var<'g>,
    /// `[B·G, S, E]`
    v: Var<'g>,
    /// Which keys a query attends to, `[B, H, T, S]` or less, if not all.
    allowed: Option<Var<'g>>,
}

impl<'a, 'g> Matrices<'a, 'g> {
    fn new(op: &'a Attention, x: &'a [Var<'g>]) -> Self {
        let sizes = op.sizes(|i| x[i].shape());
        let heads = |h: Heads| x[h.input].slice_axis(2, h.first, h.first + h.count);
        let mut matrices = Self {
            op,
            x,
            sizes,
            q: x[0],
            k: x[0],
            v: x[0],
            allowed: None,
        };
        matrices.q = matrices.rows(heads(op.q));
        [matrices.k, matrices.v] = [op.k, op.v].map(|h| matrices.rows(heads(h)));
        matrices.allowed = matrices.allowed();
        matrices
    }

    /// `[B, T, H, W]` as `[B·G, R·T, W]`, and keys and values, of which `R` is 1.
    fn rows(&self, x: Var<'g>) -> Var<'g> {
        let s = &self.sizes;
        let rows = x.dim(1) * (x.dim(2) / s.groups);
        x.permute(&[0, 2, 1, 3])
            .reshape([s.batch * s.groups, rows, x.dim(3)])
    }

    /// The way back, to so many heads.
    fn heads(&self, rows: Var<'g>, count: usize) -> Var<'g> {
        let s = &self.sizes;
        let length = rows.dim(1) / (count / s.groups);
        rows.reshape([s.batch, count, length, rows.dim(2)])
            .permute(&[0, 2, 1, 3])
    }

    /// `[B·G, R·T, S]` as `[B, H, T, S]`, and back.
    fn square(&self, rows: Var<'g>) -> Var<'g> {
        let s = &self.sizes;
        rows.reshape([s.batch, s.heads, s.queries, s.keys])
    }

    fn flat(&self, square: Var<'g>) -> Var<'g> {
        let s = &self.sizes;
        let rows = s.heads / s.groups * s.queries;
        square.reshape([s.batch * s.groups, rows, s.keys])
    }

    fn allowed(&self) -> Option<Var<'g>> {
        let mask = self.op.mask().map(|i| match self.x[i] {
            mask if mask.dtype() == DType::Bool => mask,
            mask => mask.gt(EXCLUDED),
        });
        let causal = self.op.causal.then(|| {
            let shape = [1, 1, self.sizes.queries, self.sizes.keys];
            let at = |axis| self.x[0].graph().iota(shape, axis);
            at(3).le(at(2))
        });
        match (mask, causal) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        }
    }

    /// `x` where a query attends, else `otherwise`.
    fn where_allowed(&self, x: Var<'g>, otherwise: f64) -> Var<'g> {
        match self.allowed {
            Some(allowed) => allowed.select(x, Scalar::F32(otherwise)),
            None => x,
        }
    }

    /// `s`, `[B, H, T, S]`.
    fn scores(&self) -> Var<'g> {
        let s = self.square(self.q.matmul(self.k.transpose())) * self.op.scale;
        match self.op.mask().map(|i| self.x[i]) {
            Some(mask) if mask.dtype() == DType::F32 => s + mask,
            _ => s,
        }
    }

    /// Maxima of the rows, what is left of the exponentials after them, and the sums of those.
    fn exponentials(&self) -> [Var<'g>; 3] {
        let scores = self.where_allowed(self.scores(), f64::from(f32::MIN));
        let most = scores.stop_gradient().max_keep(&[-1]);
        let e = self.where_allowed((scores - most).exp(), 0.0);
        [most, e, e.sum_keep(&[-1])]
    }

    /// Drops some of `[B, H, T, S]`.
    fn dropped(&self, x: Var<'g>) -> Var<'g> {
        match self.op.dropout {
            Some(d) => super::super::dropout(x.graph(), d.stream, x, d.rate),
            None => x,
        }
    }

    fn output(&self) -> Var<'g> {
        let s = &self.sizes;
        if s.keys == 0 {
            let shape = [s.batch, s.queries, s.heads, s.value_width];
            return self.x[0].graph().full(shape, 0.0f32);
        }
        let [_, e, sum] = self.exponentials();
        let p = e / self.where_some(sum, sum, 1.0);
        self.heads(self.flat(self.dropped(p)).matmul(self.v), s.heads)
    }

    fn log_sum(&self) -> Var<'g> {
        let s = &self.sizes;
        let shape = [s.batch, s.heads, s.queries];
        if s.keys == 0 {
            return self.x[0].graph().full(shape, 0.0f32);
        }
        let [most, _, sum] = self.exponentials();
        let l = most + self.where_some(sum, sum, 1.0).log();
        self.where_some(sum, l, 0.0).reshape(shape)
    }

    /// `x` in rows that have any key, else `otherwise`.
    fn where_some(&self, sum: Var<'g>, x: Var<'g>, otherwise: f64) -> Var<'g> {
        match self.allowed {
            Some(_) => sum.gt(0.0).select(x, Scalar::F32(otherwise)),
            None => x,
        }
    }

    /// With `δᵢ = yᵢ·dyᵢ` and `dpᵢⱼ = dyᵢ·vⱼ`: `dsᵢⱼ = pᵢⱼ (dpᵢⱼ − δᵢ)`, `dq = scale · ds k`,
    /// `dk = scale · dsᵀ q`, `dv = pᵀ dy`, where `dp` and the last `p` are dropped as `p` was.
    fn gradient(&self, input: usize, [y, l, dy]: [Var<'g>; 3]) -> Var<'g> {
        let s = &self.sizes;
        if s.keys == 0 {
            return self.x[0].graph().full(self.x[input].shape(), 0.0f32);
        }
        let column = |x: Var<'g>| x.reshape([s.batch, s.heads, s.queries, 1]);
        let (y, dy) = (self.rows(y), self.rows(dy));
        let delta = (y * dy).sum_keep(&[-1]);
        let p = self.where_allowed((self.scores() - column(l)).exp(), 0.0);
        let dp = self.dropped(self.square(dy.matmul(self.v.transpose())));
        let ds = p * (dp - column(delta));
        if Some(input) == self.op.mask() {
            let shape = self.x[input].shape();
            let axes = (0..4).filter(|&a| shape[a] == 1).map(usize::cast_signed);
            return ds.sum_keep(&axes.collect::<Vec<_>>());
        }
        let scaled = self.flat(ds * self.op.scale);
        let parts = self.op.parts_of(input).into_iter().map(|(i, _)| match i {
            0 => self.heads(scaled.matmul(self.k), s.heads),
            1 => self.heads(scaled.transpose().matmul(self.q), s.groups),
            _ => {
                let p = self.flat(self.dropped(p));
                self.heads(p.transpose().matmul(dy), s.groups)
            }
        });
        let parts: Vec<Var<'g>> = parts.collect();
        match &parts[..] {
            [one] => *one,
            parts => parts[0].concat(&parts[1..], 2),
        }
    }
}
