//! What losses of class labels have in common: where the classes lie, which labels count, and how
//! much.

use gradus_graph::{Array, DType, Data, Shape, Var};

use super::Reduction;

/// The settings that losses of class labels share, as methods.
macro_rules! labelled {
    ($($name:ident),*) => {$(
        impl $name {
            /// The mean over all labels, of equal weight.
            pub fn new() -> Self {
                Self::default()
            }

            /// The mean, the sum or none of both over all labels; the mean unless set.
            #[must_use]
            pub const fn reduction(mut self, reduction: Reduction) -> Self {
                self.labels.reduction = reduction;
                self
            }

            /// A factor for each class.
            #[must_use]
            pub fn class_weights(mut self, weights: impl Into<Vec<f32>>) -> Self {
                self.labels.weights = Some(weights.into());
                self
            }

            /// Labels of this value count nothing; PyTorch's is −100.
            #[must_use]
            pub const fn ignore(mut self, label: i32) -> Self {
                self.labels.ignored = Some(label);
                self
            }

            /// The axis of classes, counting from the end when negative. PyTorch's is always 1.
            #[must_use]
            pub const fn class_axis(mut self, axis: isize) -> Self {
                self.labels.class_axis = Some(axis);
                self
            }
        }
    )*};
}

/// Settings of a loss of class labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Labels {
    pub(super) reduction: Reduction,
    pub(super) weights: Option<Vec<f32>>,
    pub(super) ignored: Option<i32>,
    pub(super) class_axis: Option<isize>,
}

/// What a mean divides by.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Divisor {
    /// The number of labels that count.
    Number,
    /// The sum of their weights.
    Weight,
}

/// Labels that may index classes, and what each counts.
pub(super) struct Counted<'g> {
    /// Those that are ignored are 0.
    pub(super) labels: Var<'g>,
    /// 0 for those that are ignored, else 1; `None` if none is.
    mask: Option<Var<'g>>,
    /// The factor of each label's class, 0 for those that are ignored; `None` for 1.
    weights: Option<Var<'g>>,
    /// What is left to do with the sum: a factor that is known, or numbers of the batch.
    reduction: Reduction,
    divisor: Option<Var<'g>>,
}

impl Labels {
    /// The axis of classes of scores of this shape, if it does not depend on the labels.
    pub(super) fn axis(&self, scores: &Shape) -> Option<usize> {
        match (self.class_axis, scores.rank()) {
            (Some(axis), _) => scores.axis(axis),
            (None, 4..) => Some(1),
            (None, rank) => rank.checked_sub(1),
        }
    }

    /// One past the largest label, if that does not depend on the labels.
    pub(super) fn bound(&self, scores: &Shape) -> Option<usize> {
        let known = self.class_axis.is_some() || scores.rank() != 3;
        let axis = self.axis(scores).filter(|_| known)?;
        scores.get(axis).copied()
    }

    /// Scores with the classes on the last axis, and targets in the same order of axes.
    pub(super) fn classes_last<'g>(
        &self,
        scores: Var<'g>,
        target: Var<'g>,
    ) -> Result<[Var<'g>; 2], String> {
        let (x, t) = (scores.shape(), target.shape());
        let wrong = || {
            let (found, dtype) = (scores.dtype(), target.dtype());
            let at = match (self.class_axis, self.axis(&x)) {
                (Some(_), Some(axis)) => format!("the class axis {axis} of {x}, "),
                (Some(axis), None) => format!("the class axis {axis}, which {x} has not, "),
                (None, _) => String::new(),
            };
            format!(
                "expected f32 scores [B, …, C] or [B, C, …] with {at}and i32 or u32 labels of the \
                 other axes, or f32 probabilities of the same shape; found {found} {x} with a \
                 target {dtype} {t}"
            )
        };
        let axis = self.axis(&x).ok_or_else(wrong)?;
        if scores.dtype() != DType::F32 || target.dtype() == DType::Bool {
            return Err(wrong());
        }
        if target.dtype() == DType::F32 {
            return match x == t {
                true => Ok([scores, target].map(|v| to_last(v, axis))),
                false => Err(wrong()),
            };
        }
        let others = [axis, 1, x.rank() - 1];
        let allowed = if self.class_axis.is_some() { 1 } else { 3 };
        let fits = |&axis: &usize| axis < x.rank() && without(&x, axis) == t[..];
        let axis = others.into_iter().take(allowed).find(fits);
        axis.map(|axis| [to_last(scores, axis), target])
            .ok_or_else(wrong)
    }

    /// The same for a loss that takes labels alone; these are not above the classes.
    pub(super) fn with_labels<'g>(
        &self,
        scores: Var<'g>,
        target: Var<'g>,
    ) -> Result<[Var<'g>; 2], String> {
        if target.dtype() == DType::F32 {
            let t = target.shape();
            return Err(format!("labels must be i32 or u32, found f32 {t}"));
        }
        let [scores, labels] = self.classes_last(scores, target)?;
        self.check(scores.shape().last_dim())?;
        Ok([scores, labels])
    }

    /// A message if there is not one weight for each class.
    pub(super) fn check(&self, classes: usize) -> Result<(), String> {
        match &self.weights {
            Some(w) if w.len() != classes => Err(format!(
                "expected {classes} class weights, one a class, found {}",
                w.len()
            )),
            _ => Ok(()),
        }
    }

    /// A factor for each class, `[C]`.
    pub(super) fn class_weights<'g>(&self, like: Var<'g>) -> Option<Var<'g>> {
        let literal = |w: &Vec<f32>| like.graph().literal(Array::vector(Data::F32(w.clone())));
        self.weights.as_ref().map(literal)
    }

    /// Probabilities of scores, in their shape.
    pub(super) fn softmax<'g>(&self, scores: Var<'g>) -> Option<Var<'g>> {
        let axis = self.axis(&scores.shape())?;
        Some(from_last(to_last(scores, axis).softmax(), axis))
    }

    /// The class of the largest score.
    pub(super) fn argmax<'g>(&self, scores: Var<'g>) -> Option<Var<'g>> {
        let axis = self.axis(&scores.shape())?;
        Some(scores.argmax(axis.cast_signed()))
    }

    pub(super) fn count<'g>(&self, labels: Var<'g>, divisor: Divisor) -> Counted<'g> {
        let counts = self
            .ignored
            .map(|ignored| labels.cast(DType::I32).ne(ignored));
        let known = counts.map_or(labels, |c| c.select(labels.cast(DType::I32), 0));
        let weights = self.class_weights(labels).map(|w| {
            let w = w.gather(known);
            counts.map_or(w, |c| c.select(w, 0.0))
        });
        let mask = counts.map(|c| c.cast(DType::F32));
        let divisor = match (self.reduction, divisor) {
            (Reduction::Sum | Reduction::None, _) => None,
            (Reduction::Mean, Divisor::Number) => mask,
            (Reduction::Mean, Divisor::Weight) => weights.or(mask),
        };
        Counted {
            labels: known,
            mask,
            weights,
            reduction: self.reduction,
            divisor: divisor.map(Var::sum_all),
        }
    }
}

impl<'g> Counted<'g> {
    /// The same for losses that hold their weights already.
    pub(super) fn weighted(self) -> Self {
        Self {
            weights: None,
            ..self
        }
    }

    /// The sum or mean of `w[t] · losses`.
    ///
    /// Each loss is multiplied by its share of the whole, which is one vector for everything that
    /// a batch decides. A label that is ignored adds its share alone: 0, or NaN if there is no
    /// other label; and it has no gradient.
    pub(super) fn total(&self, losses: Var<'g>) -> Var<'g> {
        let one = || losses.graph().full(losses.shape(), 1.0);
        let share = match (self.weights.or(self.mask), self.divisor) {
            (factor, Some(divisor)) => factor.unwrap_or_else(one) / divisor,
            (Some(factor), None) => factor,
            (None, None) => return self.reduction.of(losses),
        };
        let terms = match self.mask {
            Some(_) => {
                let counts = share.abs().gt(0.0);
                // A share that is NaN must not be a factor: 0 times it would be a gradient.
                counts.select(losses * counts.select(share, 0.0), share)
            }
            None => losses * share,
        };
        match self.divisor {
            Some(_) => Reduction::Sum.of(terms),
            None => self.reduction.of(terms),
        }
    }
}

/// 1 at each row's label, else 0: `[…, C]`. Labels must be checked.
pub(super) fn one_hot<'g>(scores: Var<'g>, labels: Var<'g>) -> Var<'g> {
    let shape = scores.shape();
    let axis = shape.rank() - 1;
    let column = labels.cast(DType::I32).reshape(shape.with_axis(axis, 1));
    scores.graph().iota(shape, axis).eq(column.expand(shape))
}

fn without(shape: &Shape, axis: usize) -> Vec<usize> {
    [&shape[..axis], &shape[axis + 1..]].concat()
}

fn to_last(v: Var<'_>, axis: usize) -> Var<'_> {
    if axis + 1 == v.rank() {
        return v;
    }
    let others = (0..v.rank()).filter(|&a| a != axis);
    v.permute(&others.chain([axis]).collect::<Vec<_>>())
}

fn from_last(v: Var<'_>, axis: usize) -> Var<'_> {
    let last = v.rank() - 1;
    if axis == last {
        return v;
    }
    let order = (0..axis).chain([last]).chain(axis..last);
    v.permute(&order.collect::<Vec<_>>())
}
