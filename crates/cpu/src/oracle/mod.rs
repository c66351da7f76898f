//! The oracle: evaluates graph nodes directly, before any pass, one plain function per op.
//!
//! It defines what every op means. It shares no code with the executors and knows nothing of
//! plans, threads or memory; when an executor differs, the executor is wrong until a person shows
//! otherwise. In `f64` it is the reference for parity and for gradient checks, in `f32` it shows
//! how far rounding alone may lead.
//!
//! Sums run in ascending row-major order. Composites mean their expansion.

mod conv;
mod elementwise;
mod error;
mod gather;
mod matmul;
mod reduce;
mod scan;
mod sort;
mod source;
mod tensor;
mod train;
mod view;

use std::rc::Rc;

use gradus_graph::backend::StepRow;
use gradus_graph::ops::{Composite, Meta, Op};
use gradus_graph::{Graph, Node, NodeId, step_row};

pub use error::OracleError;
pub use tensor::{Float, Tensor, Values};
pub use train::{StepResult, Trainer};

/// The values that a graph's leaves stand for.
#[derive(Clone, Debug)]
pub struct Feeds<T> {
    /// The inputs, in order of declaration.
    pub inputs: Vec<Tensor<T>>,
    /// The parameters, in order of first use.
    pub params: Vec<Tensor<T>>,
    /// The states, in order of first use.
    pub states: Vec<Tensor<T>>,
    /// The step row: step, seed and the optimizer's words.
    pub row: StepRow,
}

impl<T> Default for Feeds<T> {
    fn default() -> Self {
        Self::inputs(Vec::new())
    }
}

impl<T> Feeds<T> {
    /// These inputs; no parameters, no states, step 0 of seed 0.
    pub fn inputs(inputs: Vec<Tensor<T>>) -> Self {
        Self {
            inputs,
            params: Vec::new(),
            states: Vec::new(),
            row: [0; step_row::WORDS],
        }
    }
}

/// A step row: `step` from 0, and the optimizer's words.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the seed is stored as two halves"
)]
pub fn row(step: u32, seed: u64, optimizer: &[f32]) -> StepRow {
    let mut row = [0; step_row::WORDS];
    let fixed = [
        (step_row::STEP, step),
        (step_row::SEED_LOW, seed as u32),
        (step_row::SEED_HIGH, (seed >> 32) as u32),
    ];
    let words = (step_row::OPTIMIZER..).zip(optimizer.iter().map(|w| w.to_bits()));
    for (at, bits) in fixed.into_iter().chain(words) {
        if let Some(word) = row.get_mut(at as usize) {
            *word = bits;
        }
    }
    row
}

/// What [`eval`] found.
#[derive(Clone, Debug)]
pub struct Evaluation<T> {
    /// The wanted values, in the order asked for.
    pub values: Vec<Tensor<T>>,
    /// Indices that failed a check; each was taken to be 0.
    pub bad_indices: Vec<BadIndex>,
}

/// An index outside its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadIndex {
    /// The check, or the composite that contains it.
    pub node: NodeId,
    /// The bits of the largest bad index, as `u32`.
    pub bits: u32,
}

/// The values of `wanted`. Only nodes they depend on are evaluated, and intermediate values are
/// freed after their last use.
///
/// # Errors
/// If a feed is missing or has another shape or dtype than its leaf, or a node does not follow
/// its op's shape rule.
pub fn eval<T: Float>(
    nodes: &[Node],
    feeds: &Feeds<T>,
    wanted: &[NodeId],
) -> Result<Evaluation<T>, OracleError> {
    let mut uses = count_uses(nodes, wanted)?;
    let mut held: Vec<Option<Rc<Tensor<T>>>> = vec![None; nodes.len()];
    let mut bad_indices = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        if uses.get(i).is_none_or(|&n| n == 0) {
            continue;
        }
        let id = node_id(i);
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for x in &node.inputs {
            let value = held.get(x.index()).cloned().flatten();
            inputs.push(value.ok_or_else(|| error::invalid(id, node, "reads a later node"))?);
            if let Some(left) = uses.get_mut(x.index()) {
                *left -= 1;
                if *left == 0 {
                    held[x.index()] = None;
                }
            }
        }
        let inputs: Vec<&Tensor<T>> = inputs.iter().map(Rc::as_ref).collect();
        let value = eval_node(id, node, &inputs, feeds, &mut bad_indices)?;
        held[i] = Some(Rc::new(value));
    }
    let values = wanted
        .iter()
        .filter_map(|id| held.get(id.index()).cloned().flatten())
        .map(Rc::unwrap_or_clone)
        .collect();
    Ok(Evaluation {
        values,
        bad_indices,
    })
}

/// How often each node is read by nodes that `wanted` depends on; 0 for the others.
fn count_uses(nodes: &[Node], wanted: &[NodeId]) -> Result<Vec<usize>, OracleError> {
    let mut uses = vec![0usize; nodes.len()];
    for id in wanted {
        let count = uses.get_mut(id.index());
        *count.ok_or(OracleError::NoSuchNode(*id))? += 1;
    }
    for (i, node) in nodes.iter().enumerate().rev() {
        if uses[i] == 0 {
            continue;
        }
        for x in &node.inputs {
            let count = uses.get_mut(x.index());
            *count.ok_or(OracleError::NoSuchNode(*x))? += 1;
        }
    }
    Ok(uses)
}

/// The value of one node.
fn eval_node<T: Float>(
    id: NodeId,
    node: &Node,
    x: &[&Tensor<T>],
    feeds: &Feeds<T>,
    bad_indices: &mut Vec<BadIndex>,
) -> Result<Tensor<T>, OracleError> {
    if !node.op.is_source() {
        // After this, the functions below may rely on the shape rules.
        let metas: Vec<Meta> = x.iter().map(|t| t.meta()).collect();
        let meta = node.op.infer(&metas);
        let meta = meta.map_err(|message| error::invalid(id, node, message))?;
        if meta != node.meta {
            let message = format!("is {:?} but should be {meta:?}", node.meta);
            return Err(error::invalid(id, node, message));
        }
    }
    let shape = node.meta.shape;
    let value = match (&node.op, x) {
        (Op::Input(i), _) => source::leaf(&feeds.inputs, *i),
        (Op::Param(i), _) => source::leaf(&feeds.params, *i),
        (Op::State(i), _) => source::leaf(&feeds.states, *i),
        (Op::Const(value), _) => Some(Tensor::full(shape, *value)),
        (Op::Literal(array), _) => Some(Tensor::from_array(array)),
        (Op::Iota(axis), _) => Some(source::iota(shape, *axis)),
        (Op::Random { stream }, _) => Some(source::random(shape, *stream, &feeds.row)),
        (Op::StepWord(word), _) => source::step_word(*word, &feeds.row),
        (Op::Unary(op), [x]) => Some(elementwise::unary(*op, x)),
        (Op::Binary(op), [a, b]) => elementwise::binary(*op, a, b),
        (Op::Select, [c, a, b]) => elementwise::select(c, a, b),
        (Op::Cast(dtype), [x]) => Some(elementwise::cast(*dtype, x)),
        (Op::CheckIndex { bound }, [x]) => {
            let (value, bad) = gather::check_index(*bound, x);
            bad_indices.extend(bad.map(|bits| BadIndex { node: id, bits }));
            Some(value)
        }
        (Op::Reshape(op), [x]) => Some(view::reshape(op, x)),
        (Op::Expand(op), [x]) => Some(view::expand(op, x)),
        (Op::Permute(op), [x]) => Some(view::permute(op, x, shape)),
        (Op::Slice(op), [x]) => Some(view::slice(op, x, shape)),
        (Op::Flip(op), [x]) => Some(view::flip(op, x)),
        (Op::Pad(op), [x]) => Some(view::pad(op, x, shape)),
        (Op::Concat(op), x) => Some(view::concat(op, x, node.meta)),
        (Op::Slide(op), [x]) => Some(view::slide(op, x, shape)),
        (Op::Reduce(op), [x]) => Some(reduce::reduce(op, x, shape)),
        (Op::ArgReduce(op), [x]) => Some(reduce::arg_reduce(op, x, shape)),
        (Op::Scan(op), x) => scan::scan(op, x),
        (Op::ArgSort(op), [x] | [x, _]) => sort::argsort(op, x),
        (Op::MatMul(op), [a, b]) => matmul::matmul(op, a, b, shape),
        (Op::Conv(op), [a, b]) => conv::conv(op, a, b, shape),
        (Op::Gather(_), [x, index]) => gather::gather(x, index, shape),
        (Op::ScatterAdd(_), [x, index] | [x, index, _]) => gather::scatter_add(x, index, shape),
        (Op::FirstPosition(_), &[index, ref order @ ..]) => {
            gather::first_position(index, order.first().copied(), shape)
        }
        (Op::SliceUpdate(_), [x, new, start]) => gather::slice_update(x, new, start),
        (Op::StopGradient, [x]) => Some((*x).clone()),
        (Op::Attention(_) | Op::Composite(_), x) => {
            let op: &dyn Composite = match &node.op {
                Op::Composite(op) => op.as_ref(),
                Op::Attention(op) => op,
                _ => return Err(error::no_value(id, node)),
            };
            let inner = composite(op, x, feeds);
            let inner = inner.map_err(|e| error::invalid(id, node, e.to_string()))?;
            let bits = inner.bad_indices.iter().map(|bad| bad.bits).max();
            bad_indices.extend(bits.map(|bits| BadIndex { node: id, bits }));
            inner.values.into_iter().next()
        }
        _ => None,
    };
    let value = value.ok_or_else(|| error::no_value(id, node))?;
    if value.meta() != node.meta {
        return Err(error::feed(id, node.op.name(), node.meta, value.meta()));
    }
    Ok(value)
}

/// A composite means its expansion: traced into a graph of its own and evaluated there.
fn composite<T: Float>(
    op: &dyn Composite,
    x: &[&Tensor<T>],
    feeds: &Feeds<T>,
) -> Result<Evaluation<T>, OracleError> {
    let graph = Graph::new();
    let vars: Vec<_> = x
        .iter()
        .map(|t| graph.input("x", t.shape(), t.dtype()))
        .collect();
    let y = op.expand(&vars);
    graph.check().map_err(Box::new)?;
    let feeds = Feeds {
        row: feeds.row,
        ..Feeds::inputs(x.iter().map(|t| (*t).clone()).collect())
    };
    eval(&graph.nodes(), &feeds, &[y.id()])
}

fn node_id(index: usize) -> NodeId {
    NodeId(u32::try_from(index).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use gradus_graph::{Array, DType};

    use super::*;

    #[test]
    fn bad_indices_become_0_and_are_reported() {
        let graph = Graph::new();
        let table = graph.literal(Array::vector(vec![10.0f32, 20.0, 30.0]));
        let index = graph.literal(Array::vector(vec![1, -2, 3, 2]));
        let y = table.gather(index);
        let found = eval(&graph.nodes(), &Feeds::<f64>::default(), &[y.id()]).unwrap();
        assert_eq!(found.values[0].to_f64(), [20.0, 10.0, 10.0, 30.0]);
        let bits = found.bad_indices.iter().map(|b| b.bits);
        assert_eq!(bits.collect::<Vec<_>>(), [(-2i32).cast_unsigned()]);
    }

    #[test]
    fn a_bad_label_is_reported_by_its_composite() {
        let graph = Graph::new();
        let labels = graph.literal(Array::vector(vec![0, 7]));
        let y = graph.full([2, 3], 1.0).cross_entropy(labels);
        let found = eval(&graph.nodes(), &Feeds::<f32>::default(), &[y.id()]).unwrap();
        let bad = BadIndex {
            node: y.id(),
            bits: 7,
        };
        assert_eq!(found.bad_indices, [bad]);
    }

    #[test]
    fn feeds_that_do_not_fit_are_errors() {
        let graph = Graph::new();
        let y = graph.input("x", [2], DType::F32).exp();
        let eval = |inputs| {
            let found = eval::<f64>(&graph.nodes(), &Feeds::inputs(inputs), &[y.id()]);
            found.unwrap_err().to_string()
        };
        assert_eq!(
            eval(vec![]),
            "node 0 (input) has no value: nothing was fed for it"
        );
        let wrong = Tensor::from_array(&Array::vector(vec![1, 2]));
        assert_eq!(
            eval(vec![wrong]),
            "node 0 (input) is f32 [2], but its value is i32 [2]"
        );
    }

    #[test]
    fn nodes_that_break_their_rule_are_errors() {
        let graph = Graph::new();
        let x = graph.full([2], 1.0);
        let y = x + x;
        let mut nodes = graph.nodes();
        let eval = |nodes: &[Node], id| eval(nodes, &Feeds::<f64>::default(), &[id]);
        assert!(matches!(
            eval(&nodes, NodeId(99)),
            Err(OracleError::NoSuchNode(_))
        ));
        nodes[1].inputs = vec![NodeId(0)];
        assert!(matches!(
            eval(&nodes, y.id()),
            Err(OracleError::Invalid { .. })
        ));
        nodes[1].inputs = vec![NodeId(0), NodeId(1)];
        assert!(eval(&nodes, y.id()).is_err());
    }

    #[test]
    fn only_what_is_wanted_is_evaluated() {
        let graph = Graph::new();
        let missing = graph.input("x", [2], DType::F32);
        let _ = missing.exp();
        let y = graph.full([2], 2.0).square();
        let found = eval(&graph.nodes(), &Feeds::<f64>::default(), &[y.id(), y.id()]).unwrap();
        assert_eq!(found.values[1].to_f64(), [4.0, 4.0]);
    }
}
