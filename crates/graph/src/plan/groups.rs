//! Groups of parameters with rules of their own, and rules that need whole parameters.
//!
//! All groups of a run are updated by one kernel, which finds the group of each block of 64
//! elements in a table: a parameter begins at a multiple of 64. A rule that makes a direction of
//! a whole parameter has kernels of its own for each of them afterwards.

use super::build::{PlanError, Request};
use super::builder::{Builder, UNPLACED};
use super::layerwise::each_block;
use super::slab::ALIGN;
use super::update::Gradient;
use super::{Role, Run, Segment, ValueId};
use crate::ops::Meta;
use crate::{DType, Graph, Group, Optimizer, Shape, Whole};

/// The groups of the parameters of a run.
pub(super) struct Groups {
    members: Vec<Member>,
}

struct Member {
    segment: Segment,
    shape: Shape,
    group: usize,
}

impl Groups {
    pub(super) fn new(
        builder: &Builder,
        optimizer: &dyn Optimizer,
        run: &Run,
        request: &Request<'_, '_>,
    ) -> Self {
        let params = request.graph.params();
        let member = |segment: Segment| {
            let param = params.iter().find(|p| p.name == segment.name);
            let len = usize::try_from(segment.len).unwrap_or(0);
            let shape = param.map_or(Shape::of(&[len]), |p| p.shape);
            Member {
                group: optimizer.group(&segment.name, &shape),
                segment,
                shape,
            }
        };
        let segments = builder.plan.slabs.within(run);
        Self {
            members: segments.into_iter().map(member).collect(),
        }
    }

    /// The group, if there is but one.
    pub(super) fn one(&self) -> Option<usize> {
        let first = self.members.first().map_or(0, |m| m.group);
        let same = self.members.iter().all(|m| m.group == first);
        same.then_some(first)
    }

    /// What `build` gives, as code of an optimizer that updates the run.
    pub(super) fn within<R>(&self, graph: &Graph, build: impl FnOnce() -> R) -> R {
        let group = match self.one() {
            Some(group) => Group::One(group),
            None => Group::Each(each_block(graph, self.blocks())),
        };
        graph.in_group(group, || graph.within("optimizer", None, build))
    }

    fn blocks(&self) -> Vec<u32> {
        let blocks = |m: &Member| {
            let count = usize::try_from(m.segment.len.div_ceil(ALIGN)).unwrap_or(0);
            std::iter::repeat_n(u32::try_from(m.group).unwrap_or(u32::MAX), count)
        };
        self.members.iter().flat_map(blocks).collect()
    }

    /// Kernels for the parameters whose rule needs them whole, after the pointwise update.
    pub(super) fn whole(
        &self,
        builder: &mut Builder,
        (optimizer, request): (&dyn Optimizer, &Request<'_, '_>),
        gradient: &Gradient<'_>,
        squares: Option<ValueId>,
    ) -> Result<(), PlanError> {
        for member in &self.members {
            let Some(rule) = optimizer.whole(member.group) else {
                continue;
            };
            let shard = member.segment.shard;
            let mut inputs = vec![
                member.value(builder, Role::Params(shard), "param"),
                member.value(builder, Role::Grads(shard), "grad"),
            ];
            for (k, name) in (request.first_state..).zip(optimizer.states()) {
                inputs.push(member.value(builder, Role::OptimizerState(k, shard), name));
            }
            inputs.extend(squares);
            member.update(builder, rule, &inputs, gradient)?;
        }
        Ok(())
    }
}

impl Member {
    /// The parameter's part of a vector, in its shape.
    fn value(&self, builder: &mut Builder, role: Role, name: &str) -> ValueId {
        let buffer = builder.buffer(role);
        let name = format!("{name} of {}", self.segment.name);
        let meta = Meta::new(self.shape, DType::F32);
        builder.value(name, meta, buffer, self.segment.offset * 4)
    }

    fn update(
        &self,
        builder: &mut Builder,
        rule: &dyn Whole,
        inputs: &[ValueId],
        gradient: &Gradient<'_>,
    ) -> Result<(), PlanError> {
        let group = Group::One(self.group);
        let graph = Graph::new();
        let vars = builder.inputs(&graph, inputs);
        let (_, grad, states) = gradient.of(&vars);
        let direction = graph.in_group(group, || {
            graph.within("optimizer", None, || rule.direction(grad, states))
        });
        graph.check()?;
        let name = format!("direction of {}", self.segment.name);
        let value = builder.value(name, direction.meta(), UNPLACED, 0);
        builder.lower_kernels(&graph, inputs, &[(direction, value)], "optimizer/direction")?;
        let graph = Graph::new();
        let inputs = [inputs[0], value];
        let vars = builder.inputs(&graph, &inputs);
        let param = graph.in_group(group, || {
            graph.within("optimizer", None, || rule.after(vars[0], vars[1]))
        });
        builder.lower_graph(&graph, &inputs, &[(param, inputs[0])], "optimizer/step")
    }
}
