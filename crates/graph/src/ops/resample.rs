//! Interpolation and mirrored borders: every element is a weighted sum of few others, which a
//! table names along each axis.

use super::{Composite, Gather, Meta, Op};
use crate::{Array, DType, Shape, Var};

/// Taps of all axes together beyond which an axis is done after the other.
const MANY: usize = 25;

/// From the elements of one axis to those of another size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// Elements before, at least 1.
    pub input: usize,
    /// Elements after.
    pub output: usize,
    /// Which elements make which.
    pub rule: Rule,
}

/// So many elements before for so many after: two numbers, so that multiples are whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Elements before.
    pub before: f64,
    /// Elements after.
    pub after: f64,
}

impl Step {
    fn at(self, position: f64) -> f64 {
        position * self.before / self.after
    }
}

/// Which elements make which: `y[i]` of `x` at positions that need not be whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `x[⌊i · step⌋]`
    Nearest {
        /// From one element to the next.
        step: Step,
    },
    /// `x` at `(i + ½) · step − ½`, between two elements in proportion, none before the first.
    Linear {
        /// From one element to the next.
        step: Step,
    },
    /// The same at `i · (input − 1) / (output − 1)`: first and last elements stay.
    Aligned,
    /// `x[i − before]`; outside, as in a mirror that lies on the first and last element.
    Reflect {
        /// Elements added in front.
        before: usize,
    },
    /// `x[i − before]`; outside, the nearest element.
    Replicate {
        /// Elements added in front.
        before: usize,
    },
}

impl Resampling {
    /// For each element after, those before that make it, with their weights.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positions are not negative, and far below 2⁵³"
    )]
    fn taps(&self) -> Vec<Vec<(usize, f64)>> {
        let last = self.input.saturating_sub(1);
        let between = |at: f64| {
            let low = (at.floor() as usize).min(last);
            let share = (at - low as f64).min(1.0);
            vec![(low, 1.0 - share), ((low + 1).min(last), share)]
        };
        let tap = |i: usize| match self.rule {
            Rule::Nearest { step } => vec![((step.at(i as f64) as usize).min(last), 1.0)],
            Rule::Linear { step } => between((step.at(i as f64 + 0.5) - 0.5).max(0.0)),
            Rule::Aligned if self.output == 1 => vec![(0, 1.0)],
            Rule::Aligned => between(i as f64 * last as f64 / (self.output - 1) as f64),
            Rule::Reflect { before } => {
                let distance = i.abs_diff(before);
                vec![(last - last.abs_diff(distance), 1.0)]
            }
            Rule::Replicate { before } => vec![(i.saturating_sub(before).min(last), 1.0)],
        };
        (0..self.output).map(tap).collect()
    }
}

/// A [`Resampling`] of each of the last axes, or with `back` its transpose, the gradient.
///
/// ```text
/// y[…, i, j] = Σ A[i, h] · B[j, w] · x[…, h, w]
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Resample {
    /// What happens to each of the last axes.
    pub axes: Vec<Resampling>,
    /// From elements after to elements before.
    pub back: bool,
}

impl Composite for Resample {
    fn name(&self) -> &'static str {
        "resample"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let [x] = inputs else {
            return Err(format!("expected 1 input, found {}", inputs.len()));
        };
        let sides = self.axes.iter().map(|a| (a.input, a.output));
        let sides = sides.map(|(a, b)| if self.back { (b, a) } else { (a, b) });
        let (from, to): (Vec<usize>, Vec<usize>) = sides.unzip();
        let Some(lead) = x.shape.strip_suffix(&from[..]) else {
            return Err(format!("expected {from:?} as last axes of {}", x.shape));
        };
        if x.dtype != DType::F32 || self.axes.iter().any(|a| a.input == 0) {
            let (dtype, shape) = (x.dtype, x.shape);
            return Err(format!(
                "expected f32 without empty axes, found {dtype} {shape}"
            ));
        }
        let shape = Shape::try_new(&[lead, &to].concat());
        Ok(Meta::new(shape.ok_or("the result is too large")?, x.dtype))
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        let tables: Vec<Table> = self.axes.iter().map(|a| Table::of(a, self.back)).collect();
        let first = x[0].rank() - tables.len();
        let places = first..x[0].rank();
        if tables.iter().map(|t| t.width).product::<usize>() <= MANY {
            return pick(x[0], &places.zip(&tables).collect::<Vec<_>>());
        }
        // The last axis first: where it grows, the other sums are not of the larger array.
        let axes = places.zip(&tables).rev();
        axes.fold(x[0], |x, axis| pick(x, &[axis]))
    }

    /// The transpose: see [`Resample::back`].
    fn vjp<'g>(&self, _: &[Var<'g>], _: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        let back = Self {
            back: !self.back,
            ..self.clone()
        };
        vec![Some(dy.composite(back, &[]))]
    }
}

/// The same number of taps for each element: those that are missing weigh 0.
struct Table {
    width: usize,
    positions: Vec<usize>,
    weights: Vec<f64>,
}

impl Table {
    fn of(axis: &Resampling, back: bool) -> Self {
        let mut rows = axis.taps();
        if back {
            let mut turned = vec![Vec::new(); axis.input];
            for (to, taps) in rows.iter().enumerate() {
                for &(from, weight) in taps {
                    turned[from].push((to, weight));
                }
            }
            rows = turned;
        }
        for row in &mut rows {
            row.retain(|&(_, weight)| weight != 0.0);
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let filled = rows.into_iter().flat_map(|mut row| {
            row.resize(width, (0, 0.0));
            row
        });
        let (positions, weights) = filled.unzip();
        Self {
            width,
            positions,
            weights,
        }
    }

    fn rows(&self) -> usize {
        self.positions.len() / self.width
    }
}

/// The weighted sums of the taps along these axes, in one kernel.
fn pick<'g>(x: Var<'g>, axes: &[(usize, &Table)]) -> Var<'g> {
    let (graph, shape, rank) = (x.graph(), x.shape(), x.rank());
    let mut dims = shape.to_vec();
    for &(axis, table) in axes {
        dims[axis] = table.rows();
    }
    let result = dims.clone();
    dims.extend(axes.iter().map(|(_, table)| table.width));
    let whole = Shape::of(&dims);
    if whole.numel() == 0 {
        return graph.full(result, 0.0);
    }
    let strides = shape.strides();
    let word = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    // Where an element's taps lie, along each axis, and what they weigh.
    let mut index = graph.full(whole, 0);
    let mut weight: Option<Var<'g>> = None;
    for axis in 0..rank {
        let Some(tap) = axes.iter().position(|&(a, _)| a == axis) else {
            index = index + graph.iota(whole, axis) * word(strides[axis]);
            continue;
        };
        let table = axes[tap].1;
        let mut place = vec![1; dims.len()];
        (place[axis], place[rank + tap]) = (table.rows(), table.width);
        let positions = table.positions.iter().map(|&p| word(p * strides[axis]));
        let positions = Array::vector(positions.collect::<Vec<i32>>());
        index = index + graph.literal(positions).reshape(&place[..]);
        if table.weights.iter().any(|&w| w != 1.0) {
            #[allow(clippy::cast_possible_truncation, reason = "weights are in [0, 1]")]
            let weights: Vec<f32> = table.weights.iter().map(|&w| w as f32).collect();
            let weights = graph.literal(Array::vector(weights)).reshape(&place[..]);
            weight = Some(weight.map_or(weights, |w| w * weights));
        }
    }
    // The tables name elements of `x` and no others: nothing is left to check.
    let taps = x.reshape(shape.numel()).apply(Op::Gather(Gather), &[index]);
    // What weighs nothing may be infinite.
    let taps = weight.map_or(taps, |w| w.ne(0.0).select(taps * w, 0.0));
    let summed: Vec<isize> = (rank..dims.len()).map(usize::cast_signed).collect();
    taps.sum(&summed)
}
