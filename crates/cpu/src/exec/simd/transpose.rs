//! Transposes matrices.

use pulp::{Arch, NullaryFnOnce};

/// Rows of the result that are made together; what lies between stays in the nearest cache.
pub(crate) const TRANSPOSED: usize = 128;
/// Rows that are read together: a cache line of the result.
const LINE: usize = 16;

/// Rows of a matrix, their first elements `stride` apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) words: &'a [f32],
    pub(crate) count: usize,
    pub(crate) stride: usize,
}

/// `out[j, i] = rows[i, first + j]` for the at most [`TRANSPOSED`] rows of `out`, of this stride.
pub(crate) fn transpose(arch: Arch, rows: Rows<'_>, first: usize, out: &mut [f32], stride: usize) {
    arch.dispatch(Transpose {
        rows,
        first,
        out,
        stride,
    });
}

struct Transpose<'a> {
    rows: Rows<'a>,
    first: usize,
    out: &'a mut [f32],
    stride: usize,
}

impl NullaryFnOnce for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            rows,
            first,
            out,
            stride,
        } = self;
        let len = (out.len() / stride.max(1)).min(TRANSPOSED);
        let row = |i: usize| {
            let start = i * rows.stride + first;
            rows.words.get(start..start + len).unwrap_or_default()
        };
        let mut quads = [[0.0; 4 * TRANSPOSED]; 4];
        let mut lines = [0.0; LINE * TRANSPOSED];
        let whole = rows.count / LINE * LINE;
        for i in (0..whole).step_by(LINE) {
            // Interleaving every fourth row, and the results again, brings all into order.
            for (r, quad) in quads.iter_mut().enumerate() {
                interleave([0, 4, 8, 12].map(|s| row(i + r + s)), quad);
            }
            let quads = quads.each_ref();
            interleave(
                quads.map(|q| q.get(..4 * len).unwrap_or_default()),
                &mut lines,
            );
            let (lines, _) = lines.as_chunks::<LINE>();
            for (line, out) in lines.iter().zip(out.chunks_exact_mut(stride)) {
                if let Some(out) = out.get_mut(i..i + LINE) {
                    out.copy_from_slice(line);
                }
            }
        }
        for i in whole..rows.count {
            let column = out.iter_mut().skip(i).step_by(stride);
            column.zip(row(i)).for_each(|(o, x)| *o = *x);
        }
    }
}

/// `out[4 i + r] = rows[r][i]`
#[inline(always)]
fn interleave([a, b, c, d]: [&[f32]; 4], out: &mut [f32]) {
    let (out, _) = out.as_chunks_mut::<4>();
    let rows = a.iter().zip(b).zip(c).zip(d);
    for ((((a, b), c), d), out) in rows.zip(out) {
        *out = [*a, *b, *c, *d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_goes_where_it_belongs() {
        for (count, cols, stride) in [(16, 128, 128), (35, 100, 107), (5, 3, 3), (48, 1, 1)] {
            let words: Vec<f32> = (0..count * stride).map(|i| i as f32).collect();
            let rows = Rows {
                words: &words,
                count,
                stride,
            };
            let pitch = count + 7;
            let mut out = vec![-1.0; cols * pitch];
            transpose(Arch::new(), rows, 0, &mut out, pitch);
            for (at, x) in out.iter().enumerate() {
                let (j, i) = (at / pitch, at % pitch);
                let expected = if i < count {
                    words[i * stride + j]
                } else {
                    -1.0
                };
                assert_eq!(*x, expected, "[{i}, {j}] of [{count}, {cols}]");
            }
        }
    }
}
