//! Norms of whole parameters, for optimizers that size their steps by them.
//!
//! A parameter begins at a multiple of 64 elements, so blocks of 64 belong to one parameter each.
//! One kernel for each measured vector sums their squares, further ones add up the sums of each
//! parameter, up to 256 at a time as a table of indices says: none for parameters of up to 64
//! elements, one up to 2¹⁴, two up to 2²², however many parameters there are. The order of the
//! sums is fixed.

use std::ops::Range;

use super::build::PlanError;
use super::builder::{Builder, UNPLACED};
use super::groups::Groups;
use super::slab::ALIGN;
use super::update::{Gradient, Parts};
use super::{Run, ValueId};
use crate::ops::{Gather, Op};
use crate::{Array, Graph, Layerwise, Var};

/// Elements of a block.
const BLOCK: usize = ALIGN as usize;
/// Sums that one row of a kernel adds up.
const WIDTH: usize = 256;

/// The norms of the parameters of a run.
pub(super) struct Norms {
    /// Sums of squares: those of the first measured vector for each parameter, then the next.
    pub(super) value: ValueId,
    /// Where those of each measured vector begin.
    starts: Vec<u32>,
    /// The parameter of each block.
    owners: Vec<u32>,
}

impl Norms {
    /// The scale of each element of the run, from the sums.
    pub(super) fn scale<'g>(&self, rule: &dyn Layerwise, sums: Var<'g>) -> Option<Var<'g>> {
        let norms = self.starts.iter().map(|start| {
            let owners = self.owners.iter().map(|owner| start + owner);
            let owners = each_block(sums.graph(), owners.collect());
            sums.apply(Op::Gather(Gather), &[owners]).sqrt()
        });
        rule.scale(&norms.collect::<Vec<_>>())
    }
}

/// Kernels that find the norms. `inputs` are parameter, gradient and states of the run, and what
/// clipping needs.
pub(super) fn norms(
    builder: &mut Builder,
    rule: &dyn Layerwise,
    run: &Run,
    inputs: &[ValueId],
    how: (&Gradient<'_>, &Groups),
) -> Result<Norms, PlanError> {
    let segments = builder.plan.slabs.within(run);
    let (mut owners, mut count) = (Vec::new(), 0u32);
    let mut of_params: Vec<Range<usize>> = Vec::new();
    for segment in segments {
        let blocks = usize::try_from(segment.len.div_ceil(ALIGN)).unwrap_or(0);
        of_params.push(owners.len()..owners.len() + blocks);
        owners.resize(owners.len() + blocks, count);
        count += 1;
    }
    let sums = block_sums(builder, rule, inputs, how, owners.len())?;
    let mut value = sums.all;
    let shifted = |start: &usize| -> Vec<Range<usize>> {
        let groups = of_params.iter();
        groups.map(|g| start + g.start..start + g.end).collect()
    };
    let mut groups: Vec<Range<usize>> = sums.starts.iter().flat_map(shifted).collect();
    while groups.iter().any(|g| g.len() > 1) {
        let table = Table::new(&groups);
        value = table.add(builder, value)?;
        groups = table.groups;
    }
    let firsts = groups.iter().step_by(of_params.len().max(1));
    let firsts = firsts.map(|g| u32::try_from(g.start).unwrap_or(u32::MAX));
    Ok(Norms {
        value,
        starts: firsts.collect(),
        owners,
    })
}

/// Sums of squares of every block of each measured vector, one kernel for each.
fn block_sums(
    builder: &mut Builder,
    rule: &dyn Layerwise,
    inputs: &[ValueId],
    (gradient, groups): (&Gradient<'_>, &Groups),
    blocks: usize,
) -> Result<Parts, PlanError> {
    let graph = Graph::new();
    let vars = builder.inputs(&graph, inputs);
    let (param, grad, states) = gradient.of(&vars);
    let measured = groups.within(&graph, || rule.measured(param, grad, states));
    let parts = builder.parts("square_sums", &vec![blocks; measured.len()]);
    for (x, part) in measured.iter().zip(&parts.each) {
        let sums = x.square().reshape([blocks, BLOCK]).sum(&[1]);
        builder.lower_graph(&graph, inputs, &[(sums, *part)], "optimizer/blocks")?;
    }
    Ok(parts)
}

/// Which sums each row adds up.
struct Table {
    index: Vec<u32>,
    rows: usize,
    width: usize,
    /// Sums before.
    count: usize,
    /// For each parameter its rows.
    groups: Vec<Range<usize>>,
}

impl Table {
    fn new(before: &[Range<usize>]) -> Self {
        let longest = before.iter().map(Range::len).max().unwrap_or(1);
        let mut table = Self {
            index: Vec::new(),
            rows: 0,
            width: longest.clamp(1, WIDTH),
            count: before.iter().map(|g| g.end).max().unwrap_or(0),
            groups: Vec::new(),
        };
        let none = u32::try_from(table.count).unwrap_or(u32::MAX);
        for group in before {
            let first = table.rows;
            let sums = group.clone().map(|i| u32::try_from(i).unwrap_or(none));
            let sums: Vec<u32> = sums.collect();
            for row in sums.chunks(table.width) {
                table.index.extend(row);
                table.rows += 1;
                table.index.resize(table.rows * table.width, none);
            }
            table.groups.push(first..table.rows);
        }
        table
    }

    /// The kernel that adds up.
    fn add(&self, builder: &mut Builder, sums: ValueId) -> Result<ValueId, PlanError> {
        let graph = Graph::new();
        let [x] = builder.inputs(&graph, &[sums])[..] else {
            return Ok(sums);
        };
        let index = literal(&graph, vec![self.rows, self.width], self.index.clone());
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        let inside = index.lt(count);
        let index = index.minimum(count.saturating_sub(1));
        let terms = x.apply(Op::Gather(Gather), &[index]);
        let rows = inside.select(terms, 0.0).sum(&[1]);
        let value = builder.value("square_sums".into(), rows.meta(), UNPLACED, 0);
        builder.lower_graph(&graph, &[sums], &[(rows, value)], "optimizer/norms")?;
        Ok(value)
    }
}

/// A number for each element of blocks, a view: all else has one element for each of the run.
pub(super) fn each_block(graph: &Graph, numbers: Vec<u32>) -> Var<'_> {
    let blocks = numbers.len();
    let numbers = literal(graph, vec![blocks, 1], numbers);
    numbers.expand([blocks, BLOCK]).reshape(blocks * BLOCK)
}

/// Indices that the planner made itself: they need no check.
fn literal(graph: &Graph, dims: Vec<usize>, index: Vec<u32>) -> Var<'_> {
    match Array::new(dims, index) {
        Ok(array) => graph.literal(array),
        Err(error) => graph.fail("optimizer", error.to_string()),
    }
}
