//! Random graphs of ops, for comparing executors. The same seed makes the same graph.
//!
//! Values stay moderate, and nothing jumps where rounding could tip it: comparisons and
//! conversions work on integers, so that all executors must agree.

use std::ops::Range;

use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Array, DType, Graph, Scope, Shape, Var, step_row, vjp};

use super::evaluator::{Evaluator, Fed};
use super::ops::Gen;
use super::parity::{self, Bound};

/// The largest number of elements of any value.
const LARGEST: usize = 6000;
/// Ops that are checkpointed together.
const SEGMENT: usize = 6;
const SIZES: [usize; 9] = [1, 2, 3, 5, 7, 8, 16, 17, 33];

/// A random graph with values for its leaves.
pub(crate) struct Dag<'g> {
    /// Values of the leaves.
    pub(crate) fed: Fed,
    /// Results, and for every other seed gradients of the inputs.
    pub(crate) wanted: Vec<Var<'g>>,
}

/// The graph of this seed.
pub(crate) fn build(graph: &Graph, seed: u64) -> Dag<'_> {
    let mut maker = Maker {
        graph,
        rng: Rng::new(seed, stream("random dag", 0)),
        pool: Vec::new(),
        inputs: Vec::new(),
        // Gradients jump at kinks, so graphs with gradients have none.
        smooth: seed.is_multiple_of(2),
    };
    for _ in 0..maker.between(1, 3) {
        let shape = maker.shape();
        let x = maker.input(Gen::normal(shape));
        maker.pool.push(x);
    }
    let mut left = maker.between(4, 24);
    while left > 0 {
        let count = left.min(SEGMENT);
        left -= count;
        // Half of the graphs with gradients compute again.
        if seed.is_multiple_of(4) {
            Scope::root(graph, true).checkpoint(|| maker.ops(count));
        } else {
            maker.ops(count);
        }
    }
    maker.finish(seed)
}

struct Maker<'g> {
    graph: &'g Graph,
    rng: Rng,
    pool: Vec<Var<'g>>,
    inputs: Vec<Array>,
    smooth: bool,
}

impl<'g> Maker<'g> {
    fn below(&mut self, n: usize) -> usize {
        self.rng.below(u32::try_from(n).unwrap()) as usize
    }

    /// Adds this many ops, if so many fit.
    fn ops(&mut self, count: usize) {
        let end = self.pool.len() + count;
        // Not every op fits every value.
        for _ in 0..50 * count {
            if self.pool.len() == end {
                break;
            }
            let fits = |y: &Var<'_>| y.shape().numel() <= LARGEST && y.rank() <= 5;
            if let Some(y) = self.op().filter(fits) {
                self.pool.push(y);
            }
        }
    }

    /// `low..=high`
    fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    fn shape(&mut self) -> Shape {
        loop {
            let rank = self.between(0, 4);
            let dims: Vec<usize> = (0..rank).map(|_| SIZES[self.below(SIZES.len())]).collect();
            let shape = Shape::try_new(&dims).unwrap();
            if shape.numel() <= LARGEST {
                return shape;
            }
        }
    }

    fn input(&mut self, values: Gen) -> Var<'g> {
        let array = values.sample(&mut self.rng);
        let x = self.graph.input("x", *array.shape(), array.dtype());
        self.inputs.push(array);
        x
    }

    /// A float from the pool; later ones more often.
    fn float(&mut self) -> Var<'g> {
        let a = self.below(self.pool.len());
        let b = self.below(self.pool.len());
        self.pool[a.max(b)]
    }

    /// A float that broadcasts with `x`.
    fn partner(&mut self, x: Var<'g>) -> Var<'g> {
        for _ in 0..8 {
            let y = self.float();
            let shape = x.shape().broadcast(&y.shape());
            if shape.is_some_and(|s| s.numel() <= LARGEST) {
                return y;
            }
        }
        let mut dims = x.shape().to_vec();
        for d in &mut dims {
            if self.below(3) == 0 {
                *d = 1;
            }
        }
        let skip = self.below(dims.len() + 1);
        self.input(Gen::normal(dims.split_off(skip)))
    }

    /// A truth for each element of a shape, from integers.
    fn mask(&mut self, shape: Shape) -> Var<'g> {
        if shape.rank() > 0 && self.below(2) == 0 {
            let axis = self.below(shape.rank());
            let limit = i32::try_from(self.below(shape[axis] + 1)).unwrap();
            return self.graph.iota(shape, axis).lt(limit);
        }
        match self.below(3) {
            0 => self.input(Gen::bools(shape)),
            1 => self.input(Gen::any_i32(shape)).gt(3),
            _ => {
                let stream = u64::from(self.rng.next_u32());
                let bits = self.graph.random(shape, stream) >> 5u32;
                (bits % 3u32).ne(0u32)
            }
        }
    }

    fn op(&mut self) -> Option<Var<'g>> {
        let x = self.float();
        Some(match self.below(30) {
            0..3 => self.unary(x),
            3..8 => {
                let y = self.partner(x);
                self.binary(x, y)
            }
            8 => {
                let y = self.partner(x);
                let shape = x.shape().broadcast(&y.shape())?;
                self.mask(shape).select(x, y)
            }
            9 => self.reshape(x)?,
            10 => self.permute(x),
            11 => self.slice(x)?,
            12 => self.pad(x),
            13 => self.concat(x)?,
            14 => self.expand(x),
            15..18 => self.reduce(x)?,
            18..22 => self.matmul(x)?,
            22 => {
                if x.rank() == 0 {
                    return None;
                }
                if self.below(2) == 0 {
                    x.softmax()
                } else {
                    x.log_softmax()
                }
            }
            23 => self.cross_entropy(x)?,
            24..26 => self.gather(x)?,
            26 => Scope::root(self.graph, true).child("dag").dropout(x, 0.3),
            27 => x * self.graph.step_word(step_row::OPTIMIZER),
            28 => self.integers(x),
            _ => x.stop_gradient() * 0.5 + x,
        })
    }

    fn unary(&mut self, x: Var<'g>) -> Var<'g> {
        let one_and_more = x.square() + 1.0;
        let kinds = if self.smooth { 10 } else { 13 };
        match self.below(kinds) {
            0 => -x,
            1 => x.tanh(),
            2 => x.sigmoid(),
            3 => x.tanh().exp(),
            4 => (x.tanh() * 3.0).sin(),
            5 => x.tanh().square(),
            6 => one_and_more.log(),
            7 => one_and_more.rsqrt(),
            8 => one_and_more.recip() * x,
            9 => x.erf() + (x * 0.1),
            10 => x.relu(),
            11 => x.abs(),
            _ => x.maximum(-0.3).minimum(1.5),
        }
    }

    fn binary(&mut self, x: Var<'g>, y: Var<'g>) -> Var<'g> {
        let kinds = if self.smooth { 5 } else { 7 };
        match self.below(kinds) {
            0 => x + y,
            1 => x - y,
            2 => x * y.tanh(),
            3 => x / (y.square() + 1.0),
            4 => x.tanh() * y.tanh() + y,
            5 => x.maximum(y),
            _ => x.minimum(y * 0.5),
        }
    }

    fn reshape(&mut self, x: Var<'g>) -> Option<Var<'g>> {
        let n = x.shape().numel();
        let divisors: Vec<usize> = (1..=n).filter(|d| n.is_multiple_of(*d)).collect();
        if divisors.is_empty() {
            return None;
        }
        let first = divisors[self.below(divisors.len())];
        let rest = n / first;
        let divisors: Vec<usize> = (1..=rest).filter(|d| rest.is_multiple_of(*d)).collect();
        let second = divisors[self.below(divisors.len())];
        Some(match self.below(3) {
            0 => x.flatten(0),
            1 => x.reshape([first, rest]),
            _ => x.reshape([first, second, rest / second]),
        })
    }

    fn permute(&mut self, x: Var<'g>) -> Var<'g> {
        let mut axes: Vec<usize> = (0..x.rank()).collect();
        self.rng.shuffle(&mut axes);
        x.permute(&axes)
    }

    fn slice(&mut self, x: Var<'g>) -> Option<Var<'g>> {
        let (mut start, mut stop, mut step) = (Vec::new(), Vec::new(), Vec::new());
        for &size in &x.shape()[..] {
            if size == 0 {
                return None;
            }
            let first = self.below(size);
            start.push(first);
            stop.push(self.between(first + 1, size));
            step.push(self.between(1, 3));
        }
        Some(x.slice(&start, &stop, &step))
    }

    fn pad(&mut self, x: Var<'g>) -> Var<'g> {
        let widths = |maker: &mut Self| (0..x.rank()).map(|_| maker.below(3)).collect::<Vec<_>>();
        let (before, after) = (widths(self), widths(self));
        x.pad(&before, &after, [0.0, 0.5][self.below(2)])
    }

    fn concat(&mut self, x: Var<'g>) -> Option<Var<'g>> {
        if x.rank() == 0 {
            return None;
        }
        let axis = self.below(x.rank());
        let size = SIZES[self.below(4)];
        let fresh = self.input(Gen::normal(x.shape().with_axis(axis, size)));
        let others = [fresh, x * 0.5];
        let count = self.between(1, 2);
        Some(x.concat(&others[..count], axis.cast_signed()))
    }

    fn expand(&mut self, x: Var<'g>) -> Var<'g> {
        let mut dims = x.shape().to_vec();
        for d in &mut dims {
            if *d == 1 {
                *d = SIZES[self.below(5)];
            }
        }
        dims.insert(0, SIZES[self.below(4)]);
        if dims.iter().product::<usize>() > LARGEST {
            return x;
        }
        x.expand(dims)
    }

    fn axes(&mut self, x: Var<'g>) -> Vec<isize> {
        (0..x.rank().cast_signed())
            .filter(|_| self.below(2) == 0)
            .collect()
    }

    fn reduce(&mut self, x: Var<'g>) -> Option<Var<'g>> {
        let axes = self.axes(x);
        if axes.is_empty() || axes.iter().any(|&a| x.dim(a) == 0) {
            return None;
        }
        let kinds = if self.smooth { 4 } else { 7 };
        Some(match self.below(kinds) {
            0 => x.sum(&axes) * 0.2,
            1 => x.mean(&axes),
            2 => x - x.mean_keep(&axes),
            3 => (x.square().mean_keep(&axes) + 0.1).rsqrt() * x,
            4 => x.max(&axes),
            5 => x.min(&axes),
            _ => x - x.max_keep(&axes),
        })
    }

    fn matmul(&mut self, x: Var<'g>) -> Option<Var<'g>> {
        if x.rank() < 2 || x.shape().numel() == 0 {
            return None;
        }
        let (k, n) = (x.dim(-1), SIZES[self.below(SIZES.len())]);
        let scale = 1.0 / (k as f64).sqrt();
        Some(match self.below(5) {
            0 => x.matmul(self.input(Gen::normal([k, n]))) * scale,
            1 => x.matmul(self.input(Gen::normal([n, k])).transpose()) * scale,
            2 => {
                let dims = x.shape().with_axis(x.rank() - 1, n);
                let y = self.input(Gen::normal(dims));
                x.transpose().matmul(y) * (1.0 / (x.dim(-2) as f64).sqrt())
            }
            3 if x.dim(-2) <= 33 => x.matmul(x.transpose()) * scale,
            _ => {
                let bias = self.input(Gen::normal(n));
                (x.matmul(self.input(Gen::normal([k, n]))) * scale + bias).tanh()
            }
        })
    }

    fn cross_entropy(&mut self, x: Var<'g>) -> Option<Var<'g>> {
        let classes = i32::try_from(x.shape().last_dim()).unwrap();
        if x.rank() == 0 || x.shape().numel() == 0 {
            return None;
        }
        let rows = &x.shape()[..x.rank() - 1];
        let labels = self.input(Gen::i32s(rows, 0, classes));
        Some(x.cross_entropy(labels))
    }

    fn gather(&mut self, x: Var<'g>) -> Option<Var<'g>> {
        if x.rank() == 0 || x.shape().numel() == 0 {
            return None;
        }
        let rows = u32::try_from(x.dim(0)).unwrap();
        let count = SIZES[self.below(SIZES.len())];
        let index = self.input(Gen::any_u32(count)) % rows;
        Some(x.gather(index))
    }

    /// Integer arithmetic that ends as a factor.
    fn integers(&mut self, x: Var<'g>) -> Var<'g> {
        let a = self.input(Gen::any_i32(x.shape()));
        let b = self.input(Gen::any_i32(x.shape()));
        let mixed = match self.below(6) {
            0 => a + b,
            1 => a * b,
            2 => a.xor(b),
            3 => (a / b).maximum(b),
            4 => (a % b) - a,
            _ => (a >> b).or(a),
        };
        x * (mixed.and(15).cast(DType::F32) * 0.1)
    }

    fn finish(mut self, seed: u64) -> Dag<'g> {
        let graph = self.graph;
        let last = self.pool[self.pool.len() - 1];
        let mut wanted = vec![last];
        for _ in 0..2 {
            wanted.push(self.float());
        }
        let mut fed = Fed::inputs(Vec::new());
        fed.row = gradus_cpu::oracle::row(7, seed, &[0.5]);
        if self.smooth {
            let dy = self.input(Gen::normal(last.shape()));
            let nodes = graph.nodes();
            let leaves = (0u32..).zip(&nodes).filter(|(_, n)| {
                matches!(n.op, gradus_graph::ops::Op::Input(_)) && n.meta.dtype == DType::F32
            });
            let leaves: Vec<Var<'g>> = leaves
                .map(|(i, _)| graph.var(gradus_graph::NodeId(i)))
                .filter(|x| x.id() != dy.id())
                .collect();
            wanted.extend(vjp(last, dy, &leaves).into_iter().flatten());
        }
        fed.inputs = self.inputs;
        Dag { fed, wanted }
    }
}

/// Compares an evaluator with the oracle on the graphs of these seeds.
pub(crate) fn agree(evaluator: &dyn Evaluator, seeds: Range<u64>) -> Result<(), String> {
    // Errors pass through up to 24 ops, some of which have a steep slope.
    let bound = Bound {
        terms: 4096,
        ulps: 512.0,
        at_least: 1.0,
    };
    for seed in seeds {
        let graph = Graph::new();
        let dag = build(&graph, seed);
        graph.check().map_err(|e| format!("seed {seed}: {e}"))?;
        parity::check(evaluator, &graph, &dag.fed, &dag.wanted, bound)
            .map_err(|e| format!("seed {seed}: {e}\n{}", describe(&graph)))?;
    }
    Ok(())
}

/// For people: the graph's nodes.
pub(crate) fn describe(graph: &Graph) -> String {
    let nodes = graph.nodes();
    let lines = nodes.iter().enumerate().map(|(i, n)| {
        let inputs: Vec<String> = n.inputs.iter().map(|x| format!("%{}", x.0)).collect();
        let (name, meta) = (n.op.name(), n.meta);
        format!(
            "%{i} = {name}({}) {} {}",
            inputs.join(", "),
            meta.dtype,
            meta.shape
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}
