//! Tensors that no binding of the device holds are computed in parts.
//!
//! A parameter that is too large, a table of a large vocabulary, is read as parts of its rows, each a
//! binding of its own. What is made of it, and other products and tables that are too large, is made
//! part by part too: rows are looked up in the part that has them, a product with the table is one
//! for each part, and so is the gradient. Parts lie side by side under a `Concat`, which readers that
//! know nothing of them see.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Ir, Rewriter};
use crate::ops::{Concat, Gather, MatMul, Meta, Op, Permute, Reduce, Reduction, ScatterAdd};
use crate::{DType, Node, NodeId, Shape, Target, Var};

/// A tensor in parts along one axis.
struct Parts<'g> {
    axis: usize,
    each: Vec<Var<'g>>,
}

impl<'g> Parts<'g> {
    fn sizes(&self) -> Vec<usize> {
        self.each.iter().map(|v| v.shape()[self.axis]).collect()
    }
}

/// What a node becomes.
enum Made<'g> {
    Parts(Parts<'g>),
    Whole(Var<'g>),
}

/// The tensors that are in parts, by the node that joins them: their axis and their nodes.
#[derive(Default)]
struct Known(BTreeMap<NodeId, (usize, Vec<NodeId>)>);

impl Known {
    fn get<'g>(&self, v: Var<'g>) -> Option<Parts<'g>> {
        let (axis, each) = self.0.get(&v.id())?;
        let each = each.iter().map(|&id| v.graph().var(id)).collect();
        Some(Parts { axis: *axis, each })
    }

    /// The parts under the node that joins them.
    fn join<'g>(&mut self, parts: &Parts<'g>) -> Option<Var<'g>> {
        let Parts { axis, each } = parts;
        let (first, rest) = each.split_first()?;
        let whole = first.apply(Op::Concat(Concat { axis: *axis }), rest);
        let ids = each.iter().map(Var::id).collect();
        self.0.insert(whole.id(), (*axis, ids));
        Some(whole)
    }
}

pub(super) fn run(ir: &Ir, target: &Target) -> Ir {
    let limit = target.max_shard_bytes();
    let is_large = |node: &Node| node.meta.bytes() as u64 > limit;
    let live = ir.live();
    if !ir.nodes.iter().zip(&live).any(|(n, l)| *l && is_large(n)) {
        return ir.clone();
    }
    let known: RefCell<Known> = RefCell::default();
    ir.rewrite(|out, node, x| {
        let made = made(&known.borrow(), out, node, x, limit);
        let whole = match made {
            Some(Made::Parts(parts)) => known.borrow_mut().join(&parts),
            Some(Made::Whole(whole)) => Some(whole),
            None => None,
        };
        whole.unwrap_or_else(|| out.emit(node.op.clone(), x, node))
    })
}

/// Sizes of parts of `size` positions of an axis, each of them `width` elements, that stay below the
/// limit and start at multiples of 256 bytes.
pub(crate) fn cut(size: usize, width: usize, limit: u64) -> Vec<usize> {
    // Positions after which an element lies at a multiple of 64.
    let mut step = 64;
    while step > 1 && (width * step / 2).is_multiple_of(64) {
        step /= 2;
    }
    let most = usize::try_from(limit / 4).unwrap_or(usize::MAX) / width.max(1);
    let most = (most / step * step).max(step);
    let count = size.div_ceil(most).max(1);
    let each = size.div_ceil(count).next_multiple_of(step).min(most);
    let mut sizes = vec![each; size / each.max(1)];
    if !size.is_multiple_of(each.max(1)) {
        sizes.push(size % each);
    }
    sizes
}

/// The first position of each part.
fn starts(sizes: &[usize]) -> impl Iterator<Item = usize> + '_ {
    sizes.iter().scan(0, |next, n| {
        *next += n;
        Some(*next - n)
    })
}

/// This tensor in parts of these sizes along an axis.
fn cut_like<'g>(known: &Known, v: Var<'g>, axis: usize, sizes: &[usize]) -> Vec<Var<'g>> {
    match known.get(v) {
        Some(parts) if parts.axis == axis && parts.sizes() == sizes => parts.each,
        _ => {
            let each = starts(sizes).zip(sizes);
            each.map(|(start, n)| v.slice_axis(axis, start, start + n))
                .collect()
        }
    }
}

/// What a node becomes, if it or an input is too large and there is a way.
fn made<'g>(
    known: &Known,
    out: &mut Rewriter<'g>,
    node: &Node,
    x: &[Var<'g>],
    limit: u64,
) -> Option<Made<'g>> {
    let is_large = node.meta.bytes() as u64 > limit;
    let shape = node.meta.shape;
    let of = |i: usize| known.get(*x.get(i)?);
    let parts = match &node.op {
        Op::Param(param) if is_large && shape.rank() > 0 => {
            let width = shape[1..].iter().product();
            let sizes = cut(shape[0], width, limit);
            let mut rows = |(first, n): (usize, &usize)| {
                let op = Op::ParamRows {
                    param: *param,
                    first: first * width,
                };
                let like = Node {
                    meta: Meta::new(shape.with_axis(0, *n), node.meta.dtype),
                    ..node.clone()
                };
                out.emit(op, &[], &like)
            };
            let each = starts(&sizes).zip(&sizes).map(&mut rows).collect();
            Parts { axis: 0, each }
        }
        Op::StopGradient | Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast(_) => {
            let first = (0..x.len()).find_map(of);
            if first.is_none() && !is_large {
                return None;
            }
            let (axis, sizes) = match first {
                Some(parts) => (parts.axis, parts.sizes()),
                None => longest(&shape, limit)?,
            };
            let inputs: Vec<Vec<Var<'g>>> = x
                .iter()
                .map(|&v| cut_like(known, v, axis, &sizes))
                .collect();
            let part = |k: usize| {
                let inputs: Vec<Var<'g>> = inputs.iter().map(|parts| parts[k]).collect();
                out.graph.apply(node.op.clone(), &inputs)
            };
            let each = (0..sizes.len()).map(part).collect();
            Parts { axis, each }
        }
        Op::Permute(p) => {
            let parts = of(0)?;
            let axis = p.axes.iter().position(|&a| a == parts.axis)?;
            let turn = |v: &Var<'g>| {
                v.apply(
                    Op::Permute(Permute {
                        axes: p.axes.clone(),
                    }),
                    &[],
                )
            };
            let each = parts.each.iter().map(turn).collect();
            Parts { axis, each }
        }
        Op::Gather(_) => {
            let parts = of(0).filter(|parts| parts.axis == 0)?;
            return Some(Made::Whole(looked_up(&parts, *x.get(1)?, shape)?));
        }
        Op::ScatterAdd(_) if is_large => {
            let (&values, &index) = (x.first()?, x.get(1)?);
            let sizes = cut(shape[0], shape[1..].iter().product(), limit);
            let index = index.cast(DType::I32);
            let part = |(start, &rows): (usize, &usize)| {
                let (low, high) = (int(start)?, int(start + rows)?);
                let inside = index.ge(low).and(index.lt(high));
                // Beyond the part: left out.
                let local = inside.select(index - low, int(rows)?);
                Some(values.apply(Op::ScatterAdd(ScatterAdd { rows }), &[local]))
            };
            let each = starts(&sizes)
                .zip(&sizes)
                .map(part)
                .collect::<Option<_>>()?;
            Parts { axis: 0, each }
        }
        Op::Reduce(r) => return Some(Made::Whole(reduced(&of(0)?, r)?)),
        Op::MatMul(m) if *m == MatMul::default() => {
            return product(known, *x.first()?, *x.get(1)?, shape, limit);
        }
        _ => return None,
    };
    Some(Made::Parts(parts))
}

/// The longest axis of a tensor that is too large, cut.
fn longest(shape: &Shape, limit: u64) -> Option<(usize, Vec<usize>)> {
    let axis = (0..shape.rank()).max_by_key(|&a| (shape[a], usize::MAX - a))?;
    let width = shape.numel() / shape[axis];
    Some((axis, cut(shape[axis], width, limit)))
}

fn int(n: usize) -> Option<i32> {
    i32::try_from(n).ok()
}

/// Rows, each from the part that has it.
fn looked_up<'g>(table: &Parts<'g>, index: Var<'g>, shape: Shape) -> Option<Var<'g>> {
    let index = index.cast(DType::I32);
    let sizes = table.sizes();
    let lead = index.rank();
    let broad = [&index.shape()[..], &vec![1; shape.rank() - lead]].concat();
    let mut all: Option<Var<'g>> = None;
    for (part, (start, rows)) in table.each.iter().zip(starts(&sizes).zip(&sizes)) {
        let (low, high) = (int(start)?, int(start + rows)?);
        let inside = index.ge(low).and(index.lt(high));
        let rows = part.apply(Op::Gather(Gather), &[inside.select(index - low, 0)]);
        let inside = inside.reshape(broad.clone()).expand(shape);
        all = Some(match all {
            None => rows,
            Some(others) => inside.select(rows, others),
        });
    }
    all
}

/// A reduction over the axis of the parts: each part's, then theirs.
fn reduced<'g>(parts: &Parts<'g>, r: &Reduce) -> Option<Var<'g>> {
    if !r.axes.contains(&parts.axis) {
        return None;
    }
    let each = parts.each.iter();
    let mut each = each.map(|v| v.apply(Op::Reduce(r.clone()), &[]));
    let first = each.next()?;
    Some(each.fold(first, |all, v| match r.op {
        Reduction::Sum => all + v,
        Reduction::Prod => all * v,
        Reduction::Max => all.maximum(v),
        Reduction::Min => all.minimum(v),
    }))
}

/// A product with an operand in parts, or a result that is too large.
fn product<'g>(
    known: &Known,
    a: Var<'g>,
    b: Var<'g>,
    shape: Shape,
    limit: u64,
) -> Option<Made<'g>> {
    let rank = shape.rank();
    let (rows, cols) = (rank - 2, rank - 1);
    let along = |v: Var<'g>, axis: usize| {
        let parts = known.get(v).filter(|parts| parts.axis == axis)?;
        Some(parts.sizes())
    };
    let times = |a: Var<'g>, b: Var<'g>| a.apply(Op::MatMul(MatMul::default()), &[b]);
    // Terms: the sum of products.
    if let Some(sizes) = along(a, cols).or_else(|| along(b, rows)) {
        let left = cut_like(known, a, cols, &sizes);
        let right = cut_like(known, b, rows, &sizes);
        let products = left.into_iter().zip(right).map(|(a, b)| times(a, b));
        return products
            .reduce(|all, product| all + product)
            .map(Made::Whole);
    }
    let (axis, sizes) = match (along(b, cols), along(a, rows)) {
        (Some(sizes), _) => (cols, sizes),
        (_, Some(sizes)) => (rows, sizes),
        _ if Meta::new(shape, DType::F32).bytes() as u64 > limit => longest(&shape, limit)?,
        _ => return None,
    };
    let each = match axis {
        axis if axis == cols => {
            let parts = cut_like(known, b, cols, &sizes).into_iter();
            parts.map(|b| times(a, b)).collect()
        }
        axis if axis == rows => {
            let parts = cut_like(known, a, rows, &sizes).into_iter();
            parts.map(|a| times(a, b)).collect()
        }
        _ => {
            let left = cut_like(known, a, axis, &sizes).into_iter();
            let right = cut_like(known, b, axis, &sizes);
            left.zip(right).map(|(a, b)| times(a, b)).collect()
        }
    };
    Some(Made::Parts(Parts { axis, each }))
}
