//! One bad input for each op of shapes and indices: see `mistakes.rs`.

use gradus_graph::{Graph, Layer, Scope, Var};
use gradus_nn::{Embedding, EmbeddingBag};

use super::mistakes::{Mistake, bools, f32s, i32s};

/// The op that the error names, what its message contains, and what is built.
type Bad = (&'static str, &'static [&'static str], fn(&Graph));

const BAD: &[Bad] = &[
    ("narrow", &["3 from 2", "axis 1", "[3, 4]"], |g| {
        f32s(g, &[3, 4]).narrow(-1, 2, 3);
    }),
    ("narrow", &["axis 2"], |g| {
        f32s(g, &[3, 4]).narrow(2, 0, 1);
    }),
    ("slice", &["step 0"], |g| {
        f32s(g, &[5]).slice_step(0, .., 0);
    }),
    ("slice", &["[5]", "6"], |g| {
        f32s(g, &[5]).slice_step(0, 1..6, 1);
    }),
    ("slice_update", &["[2, 1, 4]", "[2, 5, 3]"], |g| {
        let (x, new) = (f32s(g, &[2, 5, 3]), f32s(g, &[2, 1, 4]));
        x.slice_update(new, i32s(g, &[2]));
    }),
    ("slice_update", &["i32 [2]", "[3]"], |g| {
        let (x, new) = (f32s(g, &[2, 5, 3]), f32s(g, &[2, 1, 3]));
        x.slice_update(new, i32s(g, &[3]));
    }),
    ("stack", &["[3]", "[4]"], |g| {
        f32s(g, &[3]).stack(&[f32s(g, &[4])], 0);
    }),
    ("stack", &["[3]", "axis 2"], |g| {
        f32s(g, &[3]).stack(&[f32s(g, &[3])], 2);
    }),
    ("unsqueeze", &["[3]", "-3"], |g| {
        f32s(g, &[3]).unsqueeze(-3);
    }),
    ("squeeze", &["axis 0", "[3, 1]"], |g| {
        f32s(g, &[3, 1]).squeeze(&[0]);
    }),
    ("split", &["[2, 2]", "axis 0", "[5]"], |g| {
        f32s(g, &[5]).split(&[2, 2], 0);
    }),
    ("chunk", &["at least 1"], |g| {
        f32s(g, &[5]).chunk(0, 0);
    }),
    ("unbind", &["axis 1", "[5]"], |g| {
        f32s(g, &[5]).unbind(1);
    }),
    ("movedim", &["[0, 1]", "[0]"], |g| {
        f32s(g, &[2, 3]).movedim(&[0, 1], &[0]);
    }),
    ("movedim", &["twice"], |g| {
        f32s(g, &[2, 3]).movedim(&[0, 1], &[0, -2]);
    }),
    ("swap_axes", &["axis -3"], |g| {
        f32s(g, &[2, 3]).swap_axes(0, -3);
    }),
    ("flip", &["axis 2", "[2, 3]"], |g| {
        f32s(g, &[2, 3]).flip(&[2]);
    }),
    ("roll", &["[1]", "[0, 1]"], |g| {
        f32s(g, &[2, 3]).roll(&[1], &[0, 1]);
    }),
    ("repeat", &["[2, 3]", "[2]"], |g| {
        f32s(g, &[2, 3]).repeat(&[2]);
    }),
    ("tile", &["too large"], |g| {
        f32s(g, &[2, 3]).tile(&[usize::MAX]);
    }),
    ("repeat_interleave", &["3 counts", "axis 0", "[2]"], |g| {
        f32s(g, &[2]).repeat_interleave(&[1, 2, 3], 0);
    }),
    ("diagonal", &["twice"], |g| {
        f32s(g, &[2, 3]).diagonal(0, 1, -1);
    }),
    ("tril", &["[3]", "2 axes"], |g| {
        f32s(g, &[3]).tril(0);
    }),
    ("triu", &["[]"], |g| {
        f32s(g, &[]).triu(0);
    }),
    ("var", &["i32"], |g| {
        i32s(g, &[3]).var(&[0], 1.0);
    }),
    ("var", &["correction -1"], |g| {
        f32s(g, &[3]).var(&[0], -1.0);
    }),
    ("logsumexp", &["axis 1", "[3]"], |g| {
        f32s(g, &[3]).logsumexp(&[1]);
    }),
    ("norm", &["NaN"], |g| {
        f32s(g, &[3]).norm(&[0], f64::NAN);
    }),
    ("norm", &["i32"], |g| {
        i32s(g, &[3]).norm(&[0], 2.0);
    }),
    ("max", &["[0]", "undefined"], |g| {
        f32s(g, &[0]).norm(&[0], f64::INFINITY);
    }),
    ("any", &["axis 3"], |g| {
        bools(g, &[2]).any(&[3]);
    }),
    ("all", &["twice"], |g| {
        bools(g, &[2]).all(&[0, -1]);
    }),
    ("count_nonzero", &["axis 1"], |g| {
        bools(g, &[2]).count_nonzero(&[1]);
    }),
    ("prod", &["bool"], |g| {
        bools(g, &[2]).prod(&[0]);
    }),
    ("argmax", &["empty axis 0"], |g| {
        f32s(g, &[0]).max_with_index(0);
    }),
    ("index_select", &["axis 2", "[3, 4]"], |g| {
        f32s(g, &[3, 4]).index_select(i32s(g, &[2]), 2);
    }),
    ("check_index", &["f32"], |g| {
        f32s(g, &[3, 4]).index_select(f32s(g, &[2]), 1);
    }),
    ("check_index", &["no rows"], |g| {
        f32s(g, &[3, 0]).index_select(i32s(g, &[2]), 1);
    }),
    ("take_along_axis", &["[4]", "[3, 4]"], |g| {
        f32s(g, &[3, 4]).take_along_axis(i32s(g, &[4]), 1);
    }),
    ("take_along_axis", &["[5, 4]", "axis 1", "[3, 4]"], |g| {
        f32s(g, &[3, 4]).take_along_axis(i32s(g, &[5, 4]), 1);
    }),
    ("scatter_add", &["[2, 2]", "[2, 3]"], |g| {
        f32s(g, &[3, 4]).scatter_add(i32s(g, &[2, 3]), f32s(g, &[2, 2]), 1);
    }),
    ("scatter", &["[2, 2]", "[2, 3]"], |g| {
        f32s(g, &[3, 4]).scatter(i32s(g, &[2, 3]), f32s(g, &[2, 2]), 1);
    }),
    ("scatter_add", &["f32", "i32"], |g| {
        f32s(g, &[3]).scatter_add(i32s(g, &[3]), i32s(g, &[3]), 0);
    }),
    ("masked_fill", &["[2, 3]", "[3]"], |g| {
        f32s(g, &[3]).masked_fill(bools(g, &[2, 3]), 0.0);
    }),
    ("select", &["bool", "i32"], |g| {
        f32s(g, &[3]).masked_fill(i32s(g, &[3]), 0.0);
    }),
    ("one_hot", &["0 classes"], |g| {
        i32s(g, &[3]).one_hot(0);
    }),
    ("check_index", &["f32"], |g| {
        f32s(g, &[3]).one_hot(2);
    }),
    ("cumsum", &["axis 1", "[3]"], |g| {
        f32s(g, &[3]).cumsum(1);
    }),
    ("cumprod", &["bool"], |g| {
        bools(g, &[3]).cumprod(0);
    }),
    ("cummax", &["axis -2"], |g| {
        f32s(g, &[3]).cummax(-2);
    }),
    ("linear_scan", &["[4]", "[3]"], |g| {
        f32s(g, &[3]).linear_scan(f32s(g, &[4]), 0);
    }),
    ("linear_scan", &["i32", "f32"], |g| {
        f32s(g, &[3]).linear_scan(i32s(g, &[3]), 0);
    }),
    ("argsort", &["axis 1", "[3]"], |g| {
        f32s(g, &[3]).argsort(1);
    }),
    ("argsort", &["bool"], |g| {
        bools(g, &[3]).sort(0);
    }),
    ("topk", &["k 4", "axis 0", "[3]"], |g| {
        f32s(g, &[3]).topk(4, 0);
    }),
    ("median", &["axis 0", "empty"], |g| {
        f32s(g, &[0]).median(0);
    }),
    ("einsum", &["`ij,jk`", "2 operands", "found 1"], |g| {
        g.einsum("ij,jk", &[f32s(g, &[2, 3])]);
    }),
    ("einsum", &["`ij`", "2 labels", "[3]"], |g| {
        g.einsum("ij->i", &[f32s(g, &[3])]);
    }),
    ("einsum", &["label j", "3 and 4"], |g| {
        g.einsum("ij,jk", &[f32s(g, &[2, 3]), f32s(g, &[4, 5])]);
    }),
    ("einsum", &["label i", "2 and 3"], |g| {
        g.einsum("ii", &[f32s(g, &[2, 3])]);
    }),
    ("einsum", &["`k`", "no operand"], |g| {
        g.einsum("ij->k", &[f32s(g, &[2, 3])]);
    }),
    ("einsum", &["`i`", "twice"], |g| {
        g.einsum("ij->ii", &[f32s(g, &[2, 3])]);
    }),
    ("einsum", &["`1`", "no letter"], |g| {
        g.einsum("i1->i", &[f32s(g, &[2, 3])]);
    }),
    ("einsum", &["f32", "i32"], |g| {
        g.einsum("i,i", &[f32s(g, &[3]), i32s(g, &[3])]);
    }),
    ("embedding", &["i32 or u32", "f32 [3]"], |g| {
        layer(g, &Embedding::new(5, 2), f32s(g, &[3]));
    }),
    ("embedding", &["[0, 2]"], |g| {
        layer(g, &Embedding::new(0, 2), i32s(g, &[3]));
    }),
    ("embedding", &["padding_idx 5", "5 tokens"], |g| {
        layer(g, &Embedding::new(5, 2).padding_idx(5), i32s(g, &[3]));
    }),
    ("embedding_bag", &["f32"], |g| {
        layer(g, &EmbeddingBag::new(5, 2), f32s(g, &[3]));
    }),
    ("embedding_bag", &["one token"], |g| {
        layer(g, &EmbeddingBag::new(5, 2), i32s(g, &[]));
    }),
    ("unembedding", &["[batch, …, 2]", "[3, 4]"], |g| {
        layer(g, &Embedding::new(5, 2).unembedding(), f32s(g, &[3, 4]));
    }),
];

/// A layer, on the line of its row.
#[track_caller]
fn layer<'g>(g: &'g Graph, layer: &dyn Layer, x: Var<'g>) {
    Scope::root(g, true).apply("layer", layer, x);
}

pub(super) fn mistakes() -> impl Iterator<Item = Mistake> {
    BAD.iter().map(|&(op, contains, build)| Mistake {
        op,
        contains,
        build,
    })
}
