//! Symbolic integer expressions over iteration axes: where an element lies in memory.
//!
//! All views are folded into these. A [`Index`] is `offset + Σ coefficient · atom`, where an atom
//! is an axis or a floor division or remainder of another index. Simplification uses the ranges
//! of the axes, so that a reshape that only splits or joins axes leaves no division behind.

use std::fmt;

/// `offset + Σ coefficient · atom`, in normal form: atoms are sorted, distinct, and have
/// coefficients that are not zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Index {
    offset: i64,
    terms: Vec<(Atom, i64)>,
}

/// A part of an [`Index`] that varies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    /// The position on an iteration axis.
    Axis(usize),
    /// `⌊index / divisor⌋`
    Div(Box<Index>, i64),
    /// `index mod divisor`, not negative.
    Mod(Box<Index>, i64),
}

impl Index {
    /// A constant.
    pub const fn constant(offset: i64) -> Self {
        Self {
            offset,
            terms: Vec::new(),
        }
    }

    /// The position on an axis.
    pub fn axis(axis: usize) -> Self {
        Self {
            offset: 0,
            terms: vec![(Atom::Axis(axis), 1)],
        }
    }

    /// The part that does not vary.
    pub const fn offset(&self) -> i64 {
        self.offset
    }

    /// The parts that vary, with their coefficients.
    pub fn terms(&self) -> &[(Atom, i64)] {
        &self.terms
    }

    /// The sum of two.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.offset += other.offset;
        for (atom, c) in &other.terms {
            sum.insert(atom.clone(), *c);
        }
        sum.recombine();
        sum
    }

    /// This plus a constant.
    #[must_use]
    pub fn shifted(&self, by: i64) -> Self {
        Self {
            offset: self.offset + by,
            terms: self.terms.clone(),
        }
    }

    /// This times a constant.
    #[must_use]
    pub fn scaled(&self, by: i64) -> Self {
        if by == 0 {
            return Self::default();
        }
        let terms = self
            .terms
            .iter()
            .map(|(a, c)| (a.clone(), c * by))
            .collect();
        Self {
            offset: self.offset * by,
            terms,
        }
    }

    /// `⌊self / n⌋`, for `n > 0` and axes of these sizes.
    #[must_use]
    pub fn div(&self, n: i64, sizes: &[usize]) -> Self {
        let (quotient, rest) = self.split(n);
        let (low, high) = rest.range(sizes);
        if low >= 0 && high < n {
            return quotient;
        }
        // ⌊⌊x / a⌋ / n⌋ = ⌊x / (a n)⌋
        let atom = match rest.terms.as_slice() {
            [(Atom::Div(inner, a), 1)] if rest.offset == 0 => Atom::Div(inner.clone(), a * n),
            _ => Atom::Div(Box::new(rest), n),
        };
        quotient.plus(&Self {
            offset: 0,
            terms: vec![(atom, 1)],
        })
    }

    /// `self mod n`, for `n > 0` and axes of these sizes.
    #[must_use]
    pub fn rem(&self, n: i64, sizes: &[usize]) -> Self {
        let (_, rest) = self.split(n);
        let (low, high) = rest.range(sizes);
        if low >= 0 && high < n {
            return rest;
        }
        Self {
            offset: 0,
            terms: vec![(Atom::Mod(Box::new(rest), n), 1)],
        }
    }

    /// `n · quotient + rest = self`, moving all multiples of `n` into the quotient.
    fn split(&self, n: i64) -> (Self, Self) {
        let mut quotient = Self::constant(self.offset.div_euclid(n));
        let mut rest = Self::constant(self.offset.rem_euclid(n));
        for (atom, c) in &self.terms {
            let (q, r) = (c.div_euclid(n), c.rem_euclid(n));
            if r == 0 {
                quotient.terms.push((atom.clone(), q));
            } else {
                rest.terms.push((atom.clone(), *c));
            }
        }
        (quotient, rest)
    }

    /// The least and the greatest value over axes of these sizes.
    pub fn range(&self, sizes: &[usize]) -> (i64, i64) {
        self.terms
            .iter()
            .fold((self.offset, self.offset), |(low, high), (atom, c)| {
                let (a, b) = match atom {
                    Atom::Axis(i) => (0, size(sizes, *i) - 1),
                    Atom::Div(inner, n) => {
                        let (a, b) = inner.range(sizes);
                        (a.div_euclid(*n), b.div_euclid(*n))
                    }
                    Atom::Mod(_, n) => (0, n - 1),
                };
                if *c >= 0 {
                    (low + c * a, high + c * b)
                } else {
                    (low + c * b, high + c * a)
                }
            })
    }

    /// The value at a position.
    pub fn eval(&self, at: &[usize]) -> i64 {
        self.terms.iter().fold(self.offset, |sum, (atom, c)| {
            let value = match atom {
                Atom::Axis(i) => size(at, *i),
                Atom::Div(inner, n) => inner.eval(at).div_euclid(*n),
                Atom::Mod(inner, n) => inner.eval(at).rem_euclid(*n),
            };
            sum + c * value
        })
    }

    /// The coefficient of each axis if no division is left.
    pub fn strides(&self, axes: usize) -> Option<Vec<i64>> {
        let mut strides = vec![0; axes];
        for (atom, c) in &self.terms {
            let Atom::Axis(i) = atom else { return None };
            *strides.get_mut(*i)? = *c;
        }
        Some(strides)
    }

    /// True if the value changes along this axis.
    pub fn uses(&self, axis: usize) -> bool {
        self.terms.iter().any(|(atom, _)| match atom {
            Atom::Axis(i) => *i == axis,
            Atom::Div(inner, _) | Atom::Mod(inner, _) => inner.uses(axis),
        })
    }

    /// This with every axis replaced by an index over other axes, which have these sizes.
    #[must_use]
    pub fn substitute(&self, axes: &[Self], sizes: &[usize]) -> Self {
        self.terms
            .iter()
            .fold(Self::constant(self.offset), |sum, (atom, c)| {
                let value = match atom {
                    Atom::Axis(i) => axes.get(*i).cloned().unwrap_or_default(),
                    Atom::Div(inner, n) => inner.substitute(axes, sizes).div(*n, sizes),
                    Atom::Mod(inner, n) => inner.substitute(axes, sizes).rem(*n, sizes),
                };
                sum.plus(&value.scaled(*c))
            })
    }

    /// The row-major position of coordinates in a tensor of this shape.
    pub fn linear(coordinates: &[Self], shape: &[usize]) -> Self {
        coordinates
            .iter()
            .zip(shape)
            .fold(Self::default(), |sum, (c, &size)| {
                sum.scaled(i64::try_from(size).unwrap_or(i64::MAX)).plus(c)
            })
    }

    /// The coordinates, in a tensor of this shape, of a row-major position.
    pub fn unravel(&self, shape: &[usize], sizes: &[usize]) -> Vec<Self> {
        let mut rest = self.clone();
        let mut coordinates = vec![Self::default(); shape.len()];
        for (axis, &size) in shape.iter().enumerate().rev() {
            let n = i64::try_from(size.max(1)).unwrap_or(i64::MAX);
            if let Some(c) = coordinates.get_mut(axis) {
                // The outermost coordinate needs no remainder.
                *c = if axis == 0 {
                    rest.clone()
                } else {
                    rest.rem(n, sizes)
                };
            }
            rest = rest.div(n, sizes);
        }
        coordinates
    }

    fn insert(&mut self, atom: Atom, c: i64) {
        match self.terms.binary_search_by(|(a, _)| a.cmp(&atom)) {
            Ok(i) => {
                if let Some(term) = self.terms.get_mut(i) {
                    term.1 += c;
                    if term.1 == 0 {
                        self.terms.remove(i);
                    }
                }
            }
            Err(i) => self.terms.insert(i, (atom, c)),
        }
    }

    /// `n ⌊x / n⌋ + x mod n = x`: undoes a split that a later reshape joins again.
    fn recombine(&mut self) {
        loop {
            let found = self.terms.iter().find_map(|(atom, c)| {
                let Atom::Mod(x, n) = atom else { return None };
                let quotient = match x.terms.as_slice() {
                    // ⌊⌊x / a⌋ / n⌋ is stored as ⌊x / (a n)⌋.
                    [(Atom::Div(inner, a), 1)] if x.offset == 0 => Atom::Div(inner.clone(), a * n),
                    _ => Atom::Div(x.clone(), *n),
                };
                let there = self
                    .terms
                    .iter()
                    .any(|(a, d)| *a == quotient && *d == c * n);
                there.then(|| (atom.clone(), quotient, (**x).clone(), *c, *n))
            });
            let Some((remainder, quotient, x, c, n)) = found else {
                return;
            };
            self.insert(remainder, -c);
            self.insert(quotient, -c * n);
            self.offset += c * x.offset;
            for (atom, d) in x.terms {
                self.insert(atom, c * d);
            }
        }
    }
}

fn size(sizes: &[usize], axis: usize) -> i64 {
    i64::try_from(sizes.get(axis).copied().unwrap_or(0)).unwrap_or(i64::MAX)
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (atom, c) in &self.terms {
            if !first {
                f.write_str(" + ")?;
            }
            first = false;
            if *c != 1 {
                write!(f, "{c}*")?;
            }
            match atom {
                Atom::Axis(i) => write!(f, "i{i}")?,
                Atom::Div(x, n) => write!(f, "({x})/{n}")?,
                Atom::Mod(x, n) => write!(f, "({x})%{n}")?,
            }
        }
        if first {
            write!(f, "{}", self.offset)
        } else if self.offset != 0 {
            write!(f, " + {}", self.offset)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn joining_and_splitting_axes_leaves_no_division() {
        let sizes = [2, 3, 4];
        let axes: Vec<Index> = (0..3).map(Index::axis).collect();
        let flat = Index::linear(&axes, &sizes);
        assert_eq!(flat.to_string(), "12*i0 + 4*i1 + i2");
        assert_eq!(flat.unravel(&sizes, &sizes), axes);
        let joined = flat.unravel(&[6, 4], &sizes);
        assert_eq!(joined[0].to_string(), "3*i0 + i1");
    }

    #[test]
    fn a_reshape_and_back_cancels() {
        let sizes = [6, 4];
        let axes = [Index::axis(0), Index::axis(1)];
        let odd = Index::linear(&axes, &sizes).unravel(&[3, 8], &sizes);
        assert_eq!(Index::linear(&odd, &[3, 8]).to_string(), "4*i0 + i1");
    }

    proptest! {
        /// Any chain of reshapes gives the same number as plain division.
        #[test]
        fn simplification_keeps_the_value(
            shapes in prop::collection::vec(prop::sample::select(vec![
                vec![4, 6, 5], vec![24, 5], vec![5, 24], vec![2, 60], vec![120], vec![3, 8, 5], vec![2, 2, 30],
            ]), 1..5),
            at in 0usize..120,
        ) {
            let sizes = [10, 12];
            let here = [at / 12, at % 12];
            let mut flat = Index::linear(&[Index::axis(0), Index::axis(1)], &sizes);
            for shape in shapes {
                let coordinates = flat.unravel(&shape, &sizes);
                let mut rest = at;
                for (axis, &size) in shape.iter().enumerate().rev() {
                    prop_assert_eq!(coordinates[axis].eval(&here), (rest % size) as i64);
                    rest /= size;
                }
                // A permutation between reshapes would not cancel; the identity must.
                flat = Index::linear(&coordinates, &shape);
                prop_assert_eq!(flat.to_string(), "12*i0 + i1");
            }
        }
    }
}
