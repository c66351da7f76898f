//! Convolution and its gradients: one contraction, seen from each of its three tensors.

use super::{Meta, Op, Window};
use crate::{DType, Shape, Var};

/// ```text
/// y[n, g, o, p] = Σ x[n, g, c, q] · w[g, o, c, k]   over all c and k     q = stride·p + dilation·k − padding
/// x[n, g, c, q] = Σ y[n, g, o, p] · w[g, o, c, k]   over all o and k, where such a p exists
/// w[g, o, c, k] = Σ x[n, g, c, q] · y[n, g, o, p]   over all n and p
/// ```
///
/// `p`, `k` and `q` stand for as many axes as there are windows. In memory groups and channels
/// are one axis: `x [N, G·C, q…]`, `w [G·O, C, k…]`, `y [N, G·O, p…]`, as in PyTorch. The
/// operands are the other two tensors, in this order; each gradient is another direction.
///
/// As in PyTorch this is cross-correlation: kernels are not flipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// The tensor that is computed.
    pub direction: Direction,
    /// Groups of channels, which do not mix: `G`.
    pub groups: usize,
    /// Channels of `x` in a group: `C`.
    pub inputs: usize,
    /// Channels of `y` in a group: `O`.
    pub outputs: usize,
    /// How the kernel moves, for each axis.
    pub windows: Vec<Window>,
}

/// The tensor that a [`Conv`] computes from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `y` of `x` and `w`: the convolution.
    Output,
    /// `x` of `y` and `w`: its gradient, and the transposed convolution.
    Input,
    /// `w` of `x` and `y`.
    Weight,
}

/// The axes of all products of a [`Conv`].
pub(crate) struct Space {
    /// The axes of the result, with groups and channels apart.
    pub(crate) kept: Vec<usize>,
    /// The axes that are summed over.
    pub(crate) summed: Vec<usize>,
}

impl Space {
    /// All axes.
    pub(crate) fn shape(&self) -> Shape {
        Shape::of(&[&self.kept[..], &self.summed].concat())
    }

    /// The positions of the axes that are summed over.
    pub(crate) fn summed_axes(&self) -> Vec<usize> {
        (self.kept.len()..self.kept.len() + self.summed.len()).collect()
    }

    /// False if each element is a single product.
    pub(crate) fn sums(&self) -> bool {
        self.summed.iter().product::<usize>() > 1
    }
}

impl Conv {
    /// The op's name.
    pub const fn name(&self) -> &'static str {
        match self.direction {
            Direction::Output => "conv",
            Direction::Input => "conv_input",
            Direction::Weight => "conv_weight",
        }
    }

    fn sizes(&self, of: impl Fn(&Window) -> usize) -> Vec<usize> {
        self.windows.iter().map(of).collect()
    }

    /// The shapes of `x`, `w` and `y`.
    fn shapes(&self, batch: usize) -> [Vec<usize>; 3] {
        let (c, o) = (
            self.groups.saturating_mul(self.inputs),
            self.groups.saturating_mul(self.outputs),
        );
        [
            [vec![batch, c], self.sizes(|w| w.input)].concat(),
            [vec![o, self.inputs], self.sizes(|w| w.size)].concat(),
            [vec![batch, o], self.sizes(|w| w.output)].concat(),
        ]
    }

    /// The space of all products.
    pub(crate) fn space(&self, batch: usize) -> Space {
        let [n, g, c, o] = [batch, self.groups, self.inputs, self.outputs];
        let of = |front: &[usize], back: Vec<usize>| [front, &back].concat();
        let (p, k, q) = (
            self.sizes(|w| w.output),
            self.sizes(|w| w.size),
            self.sizes(|w| w.input),
        );
        let (kept, summed) = match self.direction {
            Direction::Output => (of(&[n, g, o], p), of(&[c], k)),
            Direction::Input => (of(&[n, g, c], q), of(&[o], k)),
            Direction::Weight => (of(&[g, o, c], k), of(&[n], p)),
        };
        Space { kept, summed }
    }

    /// As a matrix product for each group: groups, rows, columns and terms.
    ///
    /// ```text
    /// y: O × N·p… over C·k…      x: C × N·q… over O·k…      w: O × C·k… over N·p…
    /// ```
    pub fn product(&self, batch: usize) -> [usize; 4] {
        let count = |of: fn(&Window) -> usize| self.windows.iter().map(of).product::<usize>();
        let (p, k, q) = (count(|w| w.output), count(|w| w.size), count(|w| w.input));
        let [n, g, c, o] = [batch, self.groups, self.inputs, self.outputs];
        match self.direction {
            Direction::Output => [g, o, n * p, c * k],
            Direction::Input => [g, c, n * q, o * k],
            Direction::Weight => [g, o, c * k, n * p],
        }
    }

    /// The result with its last axes as one: `[N, channels, positions]`, or `[1, G·O, C·k…]`.
    pub fn result(&self, batch: usize) -> [usize; 3] {
        let [groups, rows, columns, _] = self.product(batch);
        match self.direction {
            Direction::Weight => [1, groups * rows, columns],
            _ => [batch, groups * rows, columns / batch.max(1)],
        }
    }

    /// Products that an element is the sum of, at most, for a batch of this size.
    pub fn terms(&self, batch: usize) -> usize {
        self.product(batch)[3]
    }

    pub(crate) fn infer(&self, a: Meta, b: Meta) -> Result<Meta, String> {
        self.windows.iter().try_for_each(Window::check)?;
        if a.dtype != DType::F32 || b.dtype != DType::F32 {
            return Err(format!(
                "expected f32 operands, found {} and {}",
                a.dtype, b.dtype
            ));
        }
        let batch = a.shape.first().copied().unwrap_or(0);
        let [x, w, y] = self.shapes(batch);
        let (first, second, result) = match self.direction {
            Direction::Output => (x, w, y),
            Direction::Input => (y, w, x),
            Direction::Weight => (x, y, w),
        };
        if a.shape[..] != first[..] || b.shape[..] != second[..] {
            return Err(format!(
                "expected {first:?} and {second:?}, found {} and {}",
                a.shape, b.shape
            ));
        }
        let Space { kept, summed } = self.space(batch);
        let result = Shape::try_new(&result).filter(|_| {
            // Kernels count the products of a convolution in one number.
            Shape::try_new(&[kept, summed].concat()).is_some()
        });
        let result = result.ok_or("the convolution has too many axes or products")?;
        Ok(Meta::new(result, DType::F32))
    }

    /// A gradient, or the convolution, of the other two tensors.
    fn toward<'g>(&self, direction: Direction, a: Var<'g>, b: Var<'g>) -> Var<'g> {
        let conv = Self {
            direction,
            ..self.clone()
        };
        a.apply(Op::Conv(conv), &[b])
    }

    /// The sum is linear in each tensor: the cotangent takes the place of the result.
    pub(crate) fn vjp<'g>(&self, a: Var<'g>, b: Var<'g>, d: Var<'g>) -> [Var<'g>; 2] {
        use Direction::{Input, Output, Weight};
        match self.direction {
            Output => [self.toward(Input, d, b), self.toward(Weight, a, d)],
            Input => [self.toward(Output, d, b), self.toward(Weight, d, a)],
            Weight => [self.toward(Input, b, d), self.toward(Output, a, d)],
        }
    }
}
