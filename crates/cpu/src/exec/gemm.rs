//! The one call into `gemm`, behind a function that checks what the call trusts.

use gemm_common::Parallelism;

/// A matrix in memory: element `(i, j)` is at `offset + i · row_stride + j · col_stride`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    pub(super) words: &'a [f32],
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl Matrix<'_> {
    /// True if a matrix of this size, not empty, lies inside of the words.
    fn holds(&self, rows: usize, cols: usize) -> bool {
        let last = |n: usize, stride: usize| (n - 1).checked_mul(stride);
        let end = last(rows, self.row_stride)
            .zip(last(cols, self.col_stride))
            .and_then(|(r, c)| r.checked_add(c));
        end.is_some_and(|end| end < self.words.len() && end <= isize::MAX as usize)
    }
}

/// What a product is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onto {
    /// It replaces what is there.
    Nothing,
    /// It is added to what is there.
    Sum,
}

/// `out[i, j] = Σₖ a[i, k] · b[k, j]`, where `out` has adjacent columns and this many words from
/// row to row. Returns false, without having done anything, if a matrix does not fit its memory.
///
/// The order of summation depends on the sizes alone, not on the number of threads.
pub(super) fn gemm(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    out_stride: usize,
    [a, b]: [Matrix<'_>; 2],
    onto: Onto,
    threads: bool,
) -> bool {
    if m == 0 || n == 0 {
        return true;
    }
    let result = Matrix {
        words: out,
        row_stride: out_stride,
        col_stride: 1,
    };
    if !result.holds(m, n) || (m > 1 && out_stride < n) {
        return false;
    }
    let sum = onto == Onto::Sum;
    if k == 0 && sum {
        return true;
    }
    if k == 0 {
        out.chunks_mut(out_stride.max(n))
            .take(m)
            .filter_map(|row| row.get_mut(..n))
            .for_each(|r| r.fill(0.0));
        return true;
    }
    if !a.holds(m, k) || !b.holds(k, n) {
        return false;
    }
    let parallelism = if threads {
        Parallelism::Rayon(0)
    } else {
        Parallelism::None
    };
    let signed = usize::cast_signed;
    // The kernels want adjacent rows in the result, so the transposed product is asked for:
    // outᵀ = bᵀ aᵀ.
    #[allow(
        unsafe_code,
        reason = "gemm takes pointers; everything it trusts is checked above"
    )]
    // SAFETY: `holds` has shown that every element of the three matrices lies inside of its slice;
    // strides are not negative, so no offset is before it. `out` is borrowed mutably, and its rows
    // do not overlap since they are at least `n` apart.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            n,
            m,
            k,
            out.as_mut_ptr(),
            signed(out_stride),
            1,
            sum,
            b.words.as_ptr(),
            signed(b.row_stride),
            signed(b.col_stride),
            a.words.as_ptr(),
            signed(a.row_stride),
            signed(a.col_stride),
            if sum { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
    true
}

/// `c = a · b` of row-major matrices `[m, k]` and `[k, n]`: the bare call that the executor's
/// products are built on, for benchmarks to compare them with. Returns false, without having done
/// anything, if a slice is too short.
pub fn gemm_rows(sizes: [usize; 3], c: &mut [f32], a: &[f32], b: &[f32], threads: bool) -> bool {
    let [_, n, k] = sizes;
    let rows = |words, row_stride| Matrix {
        words,
        row_stride,
        col_stride: 1,
    };
    gemm(
        sizes,
        c,
        n,
        [rows(a, k), rows(b, n)],
        Onto::Nothing,
        threads,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let a = [1.0; 6];
        let matrix = |row_stride| Matrix {
            words: &a,
            row_stride,
            col_stride: 1,
        };
        let mut out = [0.0; 4];
        let mut product = |k, out_stride, a, b, onto| {
            let factors = [matrix(a), matrix(b)];
            let done = gemm([2, 2, k], &mut out, out_stride, factors, onto, false);
            (done, out)
        };
        assert_eq!(product(3, 2, 3, 2, Onto::Nothing), (true, [3.0; 4]));
        assert_eq!(product(3, 2, 3, 2, Onto::Sum), (true, [6.0; 4]));
        assert_eq!(product(0, 2, 3, 2, Onto::Sum), (true, [6.0; 4]));
        for (k, out_stride, a, b) in [
            (3, 2, 4, 2),
            (3, 2, 3, 3),
            (3, 3, 3, 2),
            (3, 1, 3, 2),
            (usize::MAX, 2, 3, 2),
        ] {
            let (done, _) = product(k, out_stride, a, b, Onto::Nothing);
            assert!(!done, "{k} {out_stride} {a} {b}");
        }
    }
}
