//! Lowering: the nodes of one cluster as a [`Program`], and the fragment that is its meaning.

use std::collections::BTreeMap;

use super::cluster::Clusters;
use super::domain::Domain;
use super::view::{Range, Source, source};
use super::{Factor, Fragment, ValueId};
use crate::ops::{Binary, Conv, Op, Reduction};
use crate::passes::Ir;
use crate::program::{Expr, ExprId, Program, Store};
use crate::{DType, Index, Node, NodeId, Shape};

/// Builds the program of one cluster. Loaded and stored nodes become operands, numbered in the
/// order in which they are met.
pub(crate) struct Lowering<'a> {
    ir: &'a Ir,
    clusters: &'a Clusters<'a>,
    cluster: usize,
    domain: Domain,
    sizes: Vec<usize>,
    program: Program,
    known: BTreeMap<(NodeId, Vec<Index>, Option<ExprId>), ExprId>,
    guards: BTreeMap<(Vec<Range>, Option<ExprId>), ExprId>,
    /// The nodes that the program loads, in operand order.
    pub(crate) loads: Vec<NodeId>,
    /// Bounds of the index checks met, in order; programs number sites from `first_site`.
    pub(crate) checks: Vec<(NodeId, u32)>,
    first_site: usize,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(
        ir: &'a Ir,
        clusters: &'a Clusters<'a>,
        cluster: usize,
        first_site: usize,
    ) -> Self {
        let domain = clusters.list[cluster].domain.clone();
        Self::over(ir, clusters, cluster, domain, first_site)
    }

    fn over(
        ir: &'a Ir,
        clusters: &'a Clusters<'a>,
        cluster: usize,
        domain: Domain,
        first_site: usize,
    ) -> Self {
        let sizes = domain.sizes();
        let program = Program {
            axes: sizes.clone(),
            kept: domain.kept(),
            ..Program::default()
        };
        Self {
            ir,
            clusters,
            cluster,
            domain,
            sizes,
            program,
            known: BTreeMap::new(),
            guards: BTreeMap::new(),
            loads: Vec::new(),
            checks: Vec::new(),
            first_site,
        }
    }

    /// The operand of a node that is loaded.
    pub(crate) fn load(&mut self, id: NodeId) -> usize {
        self.loads.iter().position(|&n| n == id).unwrap_or_else(|| {
            self.loads.push(id);
            self.loads.len() - 1
        })
    }

    /// An operand of a convolution: what lies in memory, or how an element of it is computed.
    pub(crate) fn factor(&mut self, id: NodeId) -> Factor {
        if self.clusters.is_loaded(id, self.cluster) {
            return Factor::Dense(self.load(id));
        }
        let shape = self.ir.node(id).meta.shape;
        let domain = Domain::pointwise(&Shape::of(&[shape.numel()]));
        let mut inner = Self {
            loads: std::mem::take(&mut self.loads),
            checks: std::mem::take(&mut self.checks),
            ..Self::over(
                self.ir,
                self.clusters,
                self.cluster,
                domain,
                self.first_site,
            )
        };
        let at = inner.domain.full_coordinates(&shape);
        let value = inner.eval(id, &at, None);
        (self.loads, self.checks) = (inner.loads, inner.checks);
        Factor::Computed(inner.program, value)
    }

    /// Computes a node of the cluster at its own position and stores it. Store operands are
    /// numbered by the caller, after the loads.
    pub(crate) fn store(&mut self, id: NodeId, operand: usize) {
        let shape = self.ir.node(id).meta.shape;
        let Some(at) = self.domain.coordinates_of(&shape) else {
            return;
        };
        let value = self.eval(id, &at, None);
        let index = Index::linear(&at, &shape);
        self.program.stores.push(Store {
            operand,
            index,
            value,
        });
    }

    pub(crate) fn finish(self) -> Program {
        self.program
    }

    fn push(&mut self, expr: Expr, dtype: DType) -> ExprId {
        let same = |i: &usize| self.program.exprs[*i] == expr && self.program.dtypes[*i] == dtype;
        let known = (0..self.program.exprs.len()).find(same);
        let index = known.unwrap_or_else(|| {
            self.program.exprs.push(expr);
            self.program.dtypes.push(dtype);
            self.program.exprs.len() - 1
        });
        ExprId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The value of a node at these coordinates. Under a guard that does not hold, any value.
    fn eval(&mut self, id: NodeId, at: &[Index], guard: Option<ExprId>) -> ExprId {
        let key = (id, at.to_vec(), guard);
        if let Some(&expr) = self.known.get(&key) {
            return expr;
        }
        let expr = self.eval_new(id, at, guard);
        self.known.insert(key, expr);
        expr
    }

    fn eval_new(&mut self, id: NodeId, at: &[Index], guard: Option<ExprId>) -> ExprId {
        let ir = self.ir;
        let node = ir.node(id);
        let dtype = node.meta.dtype;
        let place = || Index::linear(at, &node.meta.shape);
        if self.clusters.is_loaded(id, self.cluster) {
            let operand = self.load(id);
            return self.push(
                Expr::Load {
                    operand,
                    index: place(),
                    guard,
                },
                dtype,
            );
        }
        let shapes: Vec<Shape> = node.inputs.iter().map(|&x| ir.node(x).meta.shape).collect();
        if let Some(from) = source(node, &shapes, at, &self.sizes) {
            return self.eval_view(node, from, guard);
        }
        let mut x = |i: usize| self.eval(node.inputs[i], at, guard);
        let expr = match &node.op {
            Op::Const(value) => Expr::Const(*value),
            Op::Iota(axis) => Expr::Index(at[*axis].clone()),
            Op::Random { stream } => Expr::Random {
                stream: *stream,
                index: place(),
            },
            Op::StepWord(word) => Expr::StepWord(*word),
            Op::Unary(op) => Expr::Unary(*op, x(0)),
            Op::Binary(op) => {
                let (a, b) = (x(0), x(1));
                Expr::Binary(*op, a, b)
            }
            Op::Select => {
                let (c, a, b) = (x(0), x(1), x(2));
                Expr::Select(c, a, b)
            }
            Op::Cast(_) => Expr::Cast(x(0)),
            Op::StopGradient => return x(0),
            Op::CheckIndex { bound } => {
                let x = x(0);
                let site = self.check(id, *bound);
                Expr::CheckIndex {
                    bound: *bound,
                    site,
                    x,
                }
            }
            _ if self.clusters.is_product(id) => Expr::Accumulator,
            Op::Reduce(_) if self.clusters.is_total(id) => {
                let base = super::cluster::strip(ir, node.inputs[0]);
                Expr::Total {
                    operand: self.load(base),
                    count: shapes[0].numel(),
                }
            }
            Op::Reduce(_) | Op::ArgReduce(_) => {
                let full = self.domain.full_coordinates(&shapes[0]);
                let x = self.eval(node.inputs[0], &full, None);
                match &node.op {
                    Op::Reduce(r) => Expr::Reduce(r.op, x),
                    Op::ArgReduce(r) => Expr::ArgReduce(r.op, x),
                    _ => return x,
                }
            }
            Op::Conv(conv) => return self.eval_conv(node, conv, at, guard),
            Op::Gather(_) => {
                let lead = shapes[1].rank();
                let row = self.eval(node.inputs[1], &at[..lead], guard);
                let table = super::cluster::strip(ir, node.inputs[0]);
                let stride = shapes[0][1..].iter().product();
                let index = Index::linear(&at[lead..], &shapes[0][1..]);
                let operand = self.load(table);
                Expr::LoadRow {
                    operand,
                    row,
                    stride,
                    index,
                    guard,
                }
            }
            // Memory leaves are loaded above; views are handled above; the others are not
            // computed by programs.
            _ => Expr::Const(crate::Scalar::zero(dtype)),
        };
        self.push(expr, dtype)
    }

    fn eval_view(&mut self, node: &Node, from: Source, guard: Option<ExprId>) -> ExprId {
        let dtype = node.meta.dtype;
        match from {
            Source::At(inner) => self.eval(node.inputs[0], &inner, guard),
            Source::Padded(inner, ranges) => {
                let padding = match &node.op {
                    Op::Pad(pad) => pad.value,
                    Op::Slide(slide) => slide.outside,
                    _ => crate::Scalar::zero(dtype),
                };
                self.eval_padded(node.inputs[0], &inner, ranges, padding, guard)
            }
            Source::Joined(parts) => {
                let mut result = None;
                for (i, (inner, range)) in parts.into_iter().enumerate().rev() {
                    let inside = self.guard(vec![range], None);
                    let allowed = self.both(inside, guard);
                    let value = self.eval(node.inputs[i], &inner, Some(allowed));
                    result = Some(match result {
                        None => value,
                        Some(rest) => self.push(Expr::Select(inside, value, rest), dtype),
                    });
                }
                result.unwrap_or_else(|| self.push(Expr::Const(crate::Scalar::zero(dtype)), dtype))
            }
        }
    }

    /// The value of a node where these hold, else the padding.
    fn eval_padded(
        &mut self,
        id: NodeId,
        at: &[Index],
        ranges: Vec<Range>,
        padding: crate::Scalar,
        guard: Option<ExprId>,
    ) -> ExprId {
        if ranges.is_empty() {
            return self.eval(id, at, guard);
        }
        let inside = self.guard(ranges, None);
        let allowed = self.both(inside, guard);
        let value = self.eval(id, at, Some(allowed));
        let dtype = padding.dtype();
        let load = self.program.expr(value);
        let is_zero_outside =
            matches!(load, Some(Expr::Load { guard, .. }) if *guard == Some(allowed));
        if is_zero_outside && padding == crate::Scalar::zero(dtype) {
            return value;
        }
        let padding = self.push(Expr::Const(padding), dtype);
        self.push(Expr::Select(inside, value, padding), dtype)
    }

    /// The sum of products that an element of a convolution is.
    fn eval_conv(
        &mut self,
        node: &Node,
        conv: &Conv,
        at: &[Index],
        guard: Option<ExprId>,
    ) -> ExprId {
        let space = conv.space(self.ir.node(node.inputs[0]).meta.shape[0]);
        let (at, guard) = if space.sums() {
            (self.domain.full_coordinates(&space.shape()), None)
        } else {
            let place = Index::linear(at, &node.meta.shape);
            (place.unravel(&space.shape(), &self.sizes), guard)
        };
        let factors = super::conv::factors(conv, &at, &self.sizes);
        let zero = crate::Scalar::zero(DType::F32);
        let mut factor = |i: usize| {
            let (inner, ranges) = factors[i].clone();
            self.eval_padded(node.inputs[i], &inner, ranges, zero, guard)
        };
        let (a, b) = (factor(0), factor(1));
        let product = self.push(Expr::Binary(Binary::Mul, a, b), DType::F32);
        if space.sums() {
            self.push(Expr::Reduce(Reduction::Sum, product), DType::F32)
        } else {
            product
        }
    }

    fn guard(&mut self, ranges: Vec<Range>, outer: Option<ExprId>) -> ExprId {
        let key = (ranges, outer);
        if let Some(&known) = self.guards.get(&key) {
            return known;
        }
        let mut all = outer;
        for Range { index, low, high } in &key.0 {
            let one = Expr::InRange {
                index: index.clone(),
                low: *low,
                high: *high,
            };
            let one = self.push(one, DType::Bool);
            all = Some(self.both(one, all));
        }
        let all = all.unwrap_or_else(|| self.push(Expr::Const(true.into()), DType::Bool));
        self.guards.insert(key, all);
        all
    }

    fn both(&mut self, a: ExprId, b: Option<ExprId>) -> ExprId {
        match b {
            Some(b) => self.push(Expr::Binary(Binary::And, b, a), DType::Bool),
            None => a,
        }
    }

    fn check(&mut self, id: NodeId, bound: u32) -> usize {
        let known = self.checks.iter().position(|(n, _)| *n == id);
        self.first_site
            + known.unwrap_or_else(|| {
                self.checks.push((id, bound));
                self.checks.len() - 1
            })
    }
}

/// The meaning of a kernel: the nodes from `wanted` back to what is loaded.
pub(crate) fn fragment(
    ir: &Ir,
    wanted: &[(ValueId, NodeId)],
    is_loaded: &dyn Fn(NodeId) -> bool,
    value_of: &mut dyn FnMut(NodeId) -> ValueId,
) -> Fragment {
    let mut needed = vec![false; ir.nodes.len()];
    wanted.iter().for_each(|(_, id)| needed[id.index()] = true);
    let mut fragment = Fragment::default();
    for i in (0..ir.nodes.len()).rev() {
        let id = NodeId(u32::try_from(i).unwrap_or(u32::MAX));
        let own = wanted.iter().any(|(_, w)| *w == id);
        if needed[i] && (own || !is_loaded(id)) {
            ir.nodes[i]
                .inputs
                .iter()
                .for_each(|x| needed[x.index()] = true);
        }
    }
    let mut map = vec![NodeId(0); ir.nodes.len()];
    for (i, node) in ir.nodes.iter().enumerate().filter(|(i, _)| needed[*i]) {
        let id = NodeId(u32::try_from(i).unwrap_or(u32::MAX));
        let own = wanted.iter().any(|(_, w)| *w == id);
        let copy = if !own && is_loaded(id) {
            let number = u32::try_from(fragment.inputs.len()).unwrap_or(u32::MAX);
            fragment.inputs.push(value_of(id));
            Node {
                op: Op::Input(number),
                inputs: Vec::new(),
                ..node.clone()
            }
        } else {
            Node {
                inputs: node.inputs.iter().map(|x| map[x.index()]).collect(),
                ..node.clone()
            }
        };
        map[i] = NodeId(u32::try_from(fragment.nodes.len()).unwrap_or(u32::MAX));
        fragment.nodes.push(copy);
    }
    fragment.outputs = wanted.iter().map(|&(v, n)| (v, map[n.index()])).collect();
    fragment
}

/// Drops axes of size 1 and joins axes that every index treats as one.
pub(crate) fn collapse(program: &mut Program) {
    let mut axis = 0;
    while axis < program.axes.len() {
        if program.axes[axis] == 1 {
            let map = |i: usize| match i.cmp(&axis) {
                std::cmp::Ordering::Less => Index::axis(i),
                std::cmp::Ordering::Equal => Index::default(),
                std::cmp::Ordering::Greater => Index::axis(i - 1),
            };
            let maps: Vec<Index> = (0..program.axes.len()).map(map).collect();
            program.axes.remove(axis);
            program.kept -= usize::from(axis < program.kept);
            substitute(program, &maps);
        } else {
            axis += 1;
        }
    }
    if program.axes.contains(&0) {
        return; // nothing is computed along these axes, and no position divides by 0
    }
    let mut axis = 0;
    while axis + 1 < program.axes.len() {
        let boundary = axis + 1 == program.kept;
        if boundary || !join(program, axis) {
            axis += 1;
        }
    }
}

/// Joins `axis` and the next if no division is left by it.
fn join(program: &mut Program, axis: usize) -> bool {
    let inner = program.axes[axis + 1];
    let mut axes = program.axes.clone();
    axes[axis] *= inner;
    axes.remove(axis + 1);
    let n = i64::try_from(inner).unwrap_or(i64::MAX);
    let map = |i: usize| match i {
        i if i < axis => Index::axis(i),
        i if i == axis => Index::axis(axis).div(n, &axes),
        i if i == axis + 1 => Index::axis(axis).rem(n, &axes),
        i => Index::axis(i - 1),
    };
    let maps: Vec<Index> = (0..program.axes.len()).map(map).collect();
    let mut joined = program.clone();
    joined.kept -= usize::from(axis < program.kept);
    joined.axes = axes;
    substitute(&mut joined, &maps);
    if divisions(&joined) > divisions(program) {
        return false;
    }
    *program = joined;
    true
}

fn indices(program: &mut Program) -> impl Iterator<Item = &mut Index> {
    let exprs = program.exprs.iter_mut().filter_map(|e| match e {
        Expr::Load { index, .. }
        | Expr::LoadRow { index, .. }
        | Expr::Index(index)
        | Expr::InRange { index, .. }
        | Expr::Random { index, .. } => Some(index),
        _ => None,
    });
    exprs.chain(program.stores.iter_mut().map(|s| &mut s.index))
}

fn substitute(program: &mut Program, maps: &[Index]) {
    let sizes = program.axes.clone();
    indices(program).for_each(|index| *index = index.substitute(maps, &sizes));
}

fn divisions(program: &Program) -> usize {
    fn count(index: &Index) -> usize {
        let inside = |atom: &crate::Atom| match atom {
            crate::Atom::Axis(_) => 0,
            crate::Atom::Div(x, _) | crate::Atom::Mod(x, _) => 1 + count(x),
        };
        index.terms().iter().map(|(atom, _)| inside(atom)).sum()
    }
    let exprs = program
        .exprs
        .iter()
        .filter_map(Expr::index)
        .map(count)
        .sum::<usize>();
    exprs
        + program
            .stores
            .iter()
            .map(|s| count(&s.index))
            .sum::<usize>()
}
