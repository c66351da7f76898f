//! `Decoding`: sequences that are continued token by token.

use std::cell::{Cell, RefCell};

use crate::node::StateInfo;
use crate::ops::{Gather, Meta, Op};
use crate::{DType, Graph, IntoShape, NodeId, Scalar, Var};

/// Sequences of which each step adds some tokens `[B, T]` to those of the steps before. What layers
/// keep of the earlier ones has room for `capacity` positions.
///
/// The tokens of a sequence stand at `start[b]..start[b] + T`, and the first `count[b]` of them
/// count: the others are padding. What a layer keeps of padding is written over before any token
/// attends to it.
#[derive(Debug)]
pub struct Decoding<'g> {
    tokens: Var<'g>,
    start: Option<Var<'g>>,
    count: Option<Var<'g>>,
    capacity: usize,
    longest: Cell<usize>,
    reached: RefCell<Vec<bool>>,
}

impl<'g> Decoding<'g> {
    /// Sequences that begin with these tokens `[B, T]`.
    pub const fn new(tokens: Var<'g>, capacity: usize) -> Self {
        Self {
            tokens,
            start: None,
            count: None,
            capacity,
            longest: Cell::new(usize::MAX),
            reached: RefCell::new(Vec::new()),
        }
    }

    /// Goes on after so many tokens of each sequence, `i32` `[B]`.
    #[must_use]
    pub const fn after(mut self, start: Var<'g>) -> Self {
        self.start = Some(start);
        self
    }

    /// Only the first tokens of each sequence count: so many, `i32` `[B]`.
    #[must_use]
    pub const fn count(mut self, count: Var<'g>) -> Self {
        self.count = Some(count);
        self
    }

    /// Do the sequences begin here? Nothing has been kept of them then.
    pub const fn begins(&self) -> bool {
        self.start.is_none()
    }

    /// Positions there is room for.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// `T`, the tokens that a step adds to a sequence.
    pub fn length(&self) -> usize {
        self.tokens.dim(1)
    }

    /// A layer that has no more positions than this says so.
    pub fn at_most(&self, positions: usize) {
        self.longest.set(self.longest.get().min(positions));
    }

    /// The longest sequence that all layers asked so far can take.
    pub const fn longest(&self) -> usize {
        self.longest.get()
    }

    /// Does a value depend on the tokens?
    pub(crate) fn reaches(&self, x: Var<'g>) -> bool {
        let mut reached = self.reached.borrow_mut();
        let known = reached.len();
        let inner = x.graph().inner.borrow();
        for (i, node) in inner.nodes.iter().enumerate().skip(known) {
            let mut inputs = node.inputs.iter();
            let from = inputs.any(|input| reached.get(input.index()) == Some(&true));
            reached.push(from || i == self.tokens.id().index());
        }
        reached.get(x.id().index()) == Some(&true)
    }

    /// The positions of the tokens, `i32` `[B, T]`; of padding that of the last
    /// token.
    pub fn positions(&self) -> Var<'g> {
        let here = self.iota(self.length(), 1);
        let here = self.count.map_or(here, |n| here.minimum(column(n) - 1));
        let here = self.start.map_or(here, |start| here + column(start));
        here.maximum(0)
    }

    /// Which tokens count, bool `[B, T]`; `None` if all do.
    pub fn present(&self) -> Option<Var<'g>> {
        let here = self.iota(self.length(), 1);
        self.count.map(|n| here.lt(column(n)))
    }

    /// What each token may attend to: itself and the tokens before it, bool
    /// `[B, 1, T, capacity]`.
    pub fn visible(&self) -> Var<'g> {
        let here = self.iota(self.length(), 1);
        let here = self.start.map_or(here, |start| here + column(start));
        let (batch, length) = (here.dim(0), self.length());
        let graph = here.graph();
        let kept = graph.iota([batch, 1, length, self.capacity], 3);
        kept.le(here.reshape([batch, 1, length, 1]))
    }

    /// Writes `new` `[B, T, …]` to a cache `[B, capacity, …]`, at the positions of the tokens, and
    /// keeps the result for the next step.
    #[track_caller]
    pub fn write(&self, cache: Var<'g>, new: Var<'g>) -> Var<'g> {
        let y = self.written(cache, new);
        self.keep(cache, y);
        y
    }

    #[track_caller]
    fn written(&self, cache: Var<'g>, new: Var<'g>) -> Var<'g> {
        let Some(start) = self.start else {
            let mut after = vec![0; cache.rank()];
            if let Some(after) = after.get_mut(1) {
                *after = self.capacity.saturating_sub(self.length());
            }
            return new.pad(&vec![0; cache.rank()], &after, 0.0);
        };
        cache.slice_update(new, start)
    }

    /// Keeps a new value of a cache for the next step.
    #[track_caller]
    pub fn keep(&self, cache: Var<'g>, value: Var<'g>) {
        cache.graph().update(cache, value);
    }

    /// Of `[B, T, …]`, that of the last token of each sequence that counts: `[B, …]`.
    #[track_caller]
    pub fn last(&self, x: Var<'g>) -> Var<'g> {
        let (shape, length) = (x.shape(), self.length());
        let (batch, rest) = (shape[0], &shape[2..]);
        let dims = [&[batch], rest].concat();
        let rows = x.reshape([&[batch * length], rest].concat());
        match self.count {
            Some(count) => {
                let first = count.graph().iota([batch], 0) * size(length);
                let last = (count - 1).maximum(0);
                rows.apply(Op::Gather(Gather), &[first + last])
            }
            None => x.slice_axis(1, length - 1, length).reshape(dims),
        }
    }

    fn iota(&self, length: usize, axis: usize) -> Var<'g> {
        let batch = self.tokens.dim(0);
        self.tokens.graph().iota([batch, length], axis)
    }
}

impl Graph {
    /// A new value that steps which decode the same sequences hand on: undefined in the first one,
    /// and no part of the model. The caches of such steps are the same in number, order and shape.
    #[track_caller]
    pub fn cache(&self, name: &str, shape: impl IntoShape, dtype: DType) -> Var<'_> {
        let Some(shape) = self.shape("cache", shape) else {
            return self.var(NodeId::POISON);
        };
        let number = self
            .inner
            .borrow()
            .states
            .iter()
            .filter(|s| s.cache)
            .count();
        self.new_state(StateInfo {
            name: format!("{name}#{number}"),
            meta: Meta::new(shape, dtype),
            init: Scalar::zero(dtype),
            cache: true,
        })
    }
}

/// One for each sequence, beside its positions.
fn column(x: Var<'_>) -> Var<'_> {
    x.unsqueeze(1)
}

/// A size as an index; larger ones do not fit memory.
fn size(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
