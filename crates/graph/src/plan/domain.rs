//! The iteration space of a kernel, and where each node's elements lie in it.

use crate::ops::Conv;
use crate::{Index, Shape};

/// The axes a kernel iterates over, in memory order, and which of them it reduces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain {
    shape: Vec<usize>,
    reduced: Vec<bool>,
}

impl Domain {
    pub(crate) fn pointwise(shape: &Shape) -> Self {
        Self {
            shape: shape.to_vec(),
            reduced: vec![false; shape.rank()],
        }
    }

    pub(crate) fn reducing(shape: &Shape, axes: &[usize]) -> Self {
        let reduced = (0..shape.rank()).map(|a| axes.contains(&a)).collect();
        Self {
            shape: shape.to_vec(),
            reduced,
        }
    }

    /// The products of a convolution; pointwise if there is only one for each element.
    pub(crate) fn products(conv: &Conv, batch: usize) -> Self {
        let space = conv.space(batch);
        if space.sums() {
            Self::reducing(&space.shape(), &space.summed_axes())
        } else {
            Self::pointwise(&space.shape())
        }
    }

    pub(crate) fn is_pointwise(&self) -> bool {
        !self.reduced.contains(&true)
    }

    pub(crate) fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn rows(&self) -> usize {
        self.sizes_where(false).product()
    }

    fn sizes_where(&self, reduced: bool) -> impl Iterator<Item = usize> + '_ {
        self.shape
            .iter()
            .zip(&self.reduced)
            .filter(move |(_, r)| **r == reduced)
            .map(|(s, _)| *s)
    }

    /// Sizes of the program's axes: the kept ones, then the reduced ones.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.sizes_where(false)
            .chain(self.sizes_where(true))
            .collect()
    }

    /// How many of [`Domain::sizes`] are kept.
    pub(crate) fn kept(&self) -> usize {
        self.reduced.iter().filter(|r| !**r).count()
    }

    /// The position on each axis, in memory order. An axis of size 1 has the position 0, so that
    /// equal places are equal expressions.
    fn coordinates(&self) -> Vec<Index> {
        let (mut kept, mut reduced) = (0, self.kept());
        let mut next = |size: usize, r: bool| {
            let counter = if r { &mut reduced } else { &mut kept };
            *counter += 1;
            if size == 1 {
                Index::default()
            } else {
                Index::axis(*counter - 1)
            }
        };
        self.shape
            .iter()
            .zip(&self.reduced)
            .map(|(&size, &r)| next(size, r))
            .collect()
    }

    /// The coordinates of a node of this shape that has one element for each position.
    pub(crate) fn full_coordinates(&self, shape: &Shape) -> Vec<Index> {
        Index::linear(&self.coordinates(), &self.shape).unravel(shape, &self.sizes())
    }

    /// The coordinates of a node of this shape that has one element for each row.
    pub(crate) fn row_coordinates(&self, shape: &Shape) -> Vec<Index> {
        let all = self.coordinates().into_iter().zip(&self.reduced);
        let kept: Vec<Index> = all.filter(|(_, r)| !**r).map(|(c, _)| c).collect();
        let sizes: Vec<usize> = self.sizes_where(false).collect();
        Index::linear(&kept, &sizes).unravel(shape, &self.sizes())
    }

    /// The coordinates of a node of this shape, if it has an element for each position or row.
    pub(crate) fn coordinates_of(&self, shape: &Shape) -> Option<Vec<Index>> {
        let numel = shape.numel();
        if numel == self.numel() {
            Some(self.full_coordinates(shape))
        } else if numel == self.rows() {
            Some(self.row_coordinates(shape))
        } else {
            None
        }
    }

    /// True if reducing `axes` of a tensor of this shape is reducing this domain's reduced axes.
    pub(crate) fn reduces(&self, shape: &Shape, axes: &[usize]) -> bool {
        if shape.numel() != self.numel() {
            return false;
        }
        let (kept, all) = (self.kept(), self.reduced.len());
        self.full_coordinates(shape)
            .iter()
            .enumerate()
            .all(|(axis, c)| {
                let foreign = if axes.contains(&axis) {
                    0..kept
                } else {
                    kept..all
                };
                !foreign.into_iter().any(|a| c.uses(a))
            })
    }

    /// Joins the axes of two kernels that are to be one; `None` if they iterate differently.
    pub(crate) fn unify(&self, other: &Self) -> Option<Self> {
        match (self.is_pointwise(), other.is_pointwise()) {
            (true, true) => (self.numel() == other.numel()).then(|| self.clone()),
            (false, true) => {
                let fits = other.numel() == self.numel() || other.numel() == self.rows();
                fits.then(|| self.clone())
            }
            (true, false) => other.unify(self),
            (false, false) => (self.runs() == other.runs()).then(|| self.clone()),
        }
    }

    /// Adjacent axes of one kind as one, without axes of size 1.
    pub(crate) fn runs(&self) -> Vec<(usize, bool)> {
        let mut runs: Vec<(usize, bool)> = Vec::new();
        for (&size, &reduced) in self
            .shape
            .iter()
            .zip(&self.reduced)
            .filter(|(s, _)| **s != 1)
        {
            match runs.last_mut() {
                Some((n, r)) if *r == reduced => *n *= size,
                _ => runs.push((size, reduced)),
            }
        }
        runs
    }
}
