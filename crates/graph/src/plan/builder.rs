//! A plan in the making: its values, buffers and kernels.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{PlanError, Request};
use super::cluster::packs;
use super::kernel::{Fragment, Kernel, KernelKind, Operand, TakeKernel};
use super::{Bill, Buffer, BufferId, Input, Plan, Role, Value, ValueId, bill, bind, home, memory};
use crate::ops::{Meta, Op};
use crate::passes::Ir;
use crate::{DType, Graph, Node, NodeId, Part, Shape};

/// A plan in the making.
pub(super) struct Builder {
    pub(super) plan: Plan,
    /// The value that other kernels read for each node of the graph being lowered.
    pub(super) values: BTreeMap<NodeId, ValueId>,
    pub(super) leaf_values: BTreeMap<(u8, u32), ValueId>,
    pub(super) state_values: BTreeMap<u32, ValueId>,
}

/// The buffer of values that have no place yet.
pub(super) const UNPLACED: BufferId = BufferId(u32::MAX);

impl Builder {
    pub(super) fn new(request: &Request<'_, '_>) -> Self {
        let plan = Plan {
            name: request.name.to_string(),
            target: request.target.clone(),
            kernels: Vec::new(),
            values: Vec::new(),
            buffers: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            readbacks: Vec::new(),
            ring_row: 0,
            sites: Vec::new(),
            literals: Vec::new(),
            slabs: request.slabs.clone(),
            sparse: Vec::new(),
            bill: Bill::default(),
            resident: request.resident,
            recomputed: None,
        };
        Self {
            plan,
            values: BTreeMap::new(),
            leaf_values: BTreeMap::new(),
            state_values: BTreeMap::new(),
        }
    }

    /// The buffer of a role, made at first use.
    pub(super) fn buffer(&mut self, role: Role) -> BufferId {
        let known = self.plan.buffers.iter().position(|b| b.role == role);
        let index = known.unwrap_or_else(|| {
            self.plan.buffers.push(Buffer { role, bytes: 0 });
            self.plan.buffers.len() - 1
        });
        BufferId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(super) fn value(
        &mut self,
        name: String,
        meta: Meta,
        buffer: BufferId,
        offset: u64,
    ) -> ValueId {
        if let Some(b) = self.plan.buffers.get_mut(buffer.index()) {
            // No device makes an empty buffer.
            let end = (offset + meta.bytes() as u64).next_multiple_of(16);
            b.bytes = b.bytes.max(end).max(16);
        }
        self.plan.values.push(Value {
            name,
            meta,
            buffer,
            offset,
            packed: false,
        });
        ValueId(u32::try_from(self.plan.values.len() - 1).unwrap_or(u32::MAX))
    }

    /// A value at the end of a role's buffer.
    pub(super) fn appended(&mut self, name: String, meta: Meta, role: Role) -> ValueId {
        let buffer = self.buffer(role);
        let used = self.plan.buffers.get(buffer.index()).map_or(0, |b| b.bytes);
        self.value(name, meta, buffer, used.next_multiple_of(256))
    }

    /// Values of inputs, parameters, states.
    pub(super) fn leaves(&mut self, graph: &Graph) {
        let resident = self.plan.resident;
        for (i, info) in graph.inputs().into_iter().enumerate() {
            let number = u32::try_from(i).unwrap_or(u32::MAX);
            let (value, from) = match resident {
                None => (
                    self.appended(info.name.clone(), info.meta, Role::Upload),
                    None,
                ),
                Some(samples) => {
                    let mut dims = info.meta.shape.to_vec();
                    if let Some(first) = dims.first_mut() {
                        *first = samples;
                    }
                    let meta = Meta::new(Shape::of(&dims), info.meta.dtype);
                    let from =
                        self.appended(format!("data.{}", info.name), meta, Role::Resident(i));
                    (
                        self.value(info.name.clone(), info.meta, UNPLACED, 0),
                        Some(from),
                    )
                }
            };
            self.leaf_values.insert((0, number), value);
            self.plan.inputs.push(Input {
                info,
                value,
                resident: from,
            });
        }
        for (i, param) in graph.params().into_iter().enumerate() {
            let Some(segment) = self.plan.slabs.find(&param.name).cloned() else {
                continue;
            };
            let buffer = self.buffer(Role::Params(segment.shard));
            let meta = Meta::new(param.shape, DType::F32);
            let value = self.value(param.name, meta, buffer, segment.offset * 4);
            self.leaf_values
                .insert((1, u32::try_from(i).unwrap_or(u32::MAX)), value);
        }
        for ((number, state), role) in (0..).zip(graph.states()).zip(home::of_states(graph)) {
            let value = self.appended(state.name, state.meta, role);
            self.leaf_values.insert((2, number), value);
            self.state_values.insert(number, value);
        }
        if let Some(samples) = resident {
            self.take(samples);
        }
    }

    /// The kernel that takes the batch from a resident data set.
    fn take(&mut self, samples: usize) {
        let meta = Meta::new(Shape::of(&[samples]), DType::U32);
        let order = self.appended("data.order".into(), meta, Role::Order);
        let mut operands = vec![reading(order)];
        let mut arrays = Vec::new();
        let mut count = 0;
        for input in &self.plan.inputs {
            let Some(from) = input.resident else { continue };
            let shape = input.info.meta.shape;
            count = shape.first().copied().unwrap_or(0);
            let words = shape.iter().skip(1).product();
            operands.extend([reading(from), writing(input.value)]);
            arrays.push((operands.len() - 2, operands.len() - 1, words));
        }
        let kind = KernelKind::Take(TakeKernel {
            order: 0,
            count,
            samples,
            arrays,
        });
        self.push("data/take".into(), kind, operands, Fragment::default(), 0);
    }

    pub(super) fn push(
        &mut self,
        label: String,
        kind: KernelKind,
        operands: Vec<Operand>,
        meaning: Fragment,
        flops: u64,
    ) {
        let bindings = Vec::new();
        let kernel = Kernel {
            label,
            kind,
            operands,
            bindings,
            errors: None,
            meaning,
            flops,
            again: false,
        };
        self.plan.kernels.push(kernel);
    }

    /// Copies a state's new value to the state, unless it can lie there from the start.
    pub(super) fn copy(&mut self, from: ValueId, to: ValueId) {
        if memory::becomes(&mut self.plan, from, to) {
            return;
        }
        let Some(value) = self.plan.values.get(from.index()) else {
            return;
        };
        let meta = value.meta;
        let index = crate::Index::axis(0);
        let program = crate::Program {
            axes: vec![meta.shape.numel()],
            kept: 1,
            exprs: vec![crate::Expr::Load {
                operand: 0,
                index: index.clone(),
                guard: None,
            }],
            dtypes: vec![meta.dtype],
            stores: vec![crate::Store {
                operand: 1,
                index,
                value: crate::ExprId(0),
            }],
        };
        let leaf = Node {
            op: Op::Input(0),
            inputs: Vec::new(),
            meta,
            path: 0,
            part: Part::default(),
        };
        let meaning = Fragment {
            nodes: vec![leaf],
            inputs: vec![from],
            outputs: vec![(to, NodeId(0))],
        };
        let label = format!("{}/update", self.plan.values[to.index()].name);
        let kind = KernelKind::Program(program);
        self.push(label, kind, vec![reading(from), writing(to)], meaning, 0);
    }

    /// The value that a loaded node is.
    pub(super) fn loaded(&mut self, ir: &Ir, id: NodeId) -> ValueId {
        let node = ir.node(id);
        let leaf = match &node.op {
            Op::Input(i) => self.leaf_values.get(&(0, *i)),
            Op::Param(i) => self.leaf_values.get(&(1, *i)),
            Op::State(i) => self.leaf_values.get(&(2, *i)),
            _ => None,
        };
        if let Some(&value) = leaf {
            return value;
        }
        if let Some(&value) = self.values.get(&id) {
            return value;
        }
        if let Op::ParamRows { param, first } = node.op {
            let place = self.leaf_values.get(&(1, param));
            let place = place.and_then(|v| self.plan.values.get(v.index())).cloned();
            if let Some(whole) = place {
                let offset = whole.offset + first as u64 * 4;
                let value = self.value(whole.name, node.meta, whole.buffer, offset);
                self.values.insert(id, value);
                return value;
            }
        }
        if let Op::Literal(array) = &node.op {
            let value = self.appended("literal".into(), node.meta, Role::Literals);
            self.plan.literals.push((value, Arc::clone(array)));
            self.values.insert(id, value);
            return value;
        }
        let value = self.value(name_of(ir, id), node.meta, UNPLACED, 0);
        if let Some(value) = self.plan.values.last_mut() {
            value.packed = packs(ir, id);
        }
        self.values.insert(id, value);
        value
    }

    pub(super) fn finish(mut self) -> Result<Plan, PlanError> {
        if !self.plan.sites.is_empty() {
            let errors = self.buffer(Role::Errors);
            let bytes = (self.plan.sites.len() as u64 * 4).next_multiple_of(16);
            if let Some(b) = self.plan.buffers.get_mut(errors.index()) {
                b.bytes = bytes;
            }
        }
        for (shard, elements) in self.plan.slabs.shards.clone().into_iter().enumerate() {
            let role = Role::Params(shard);
            if let Some(b) = self.plan.buffers.iter_mut().find(|b| b.role == role) {
                b.bytes = elements * 4;
            }
        }
        // Nothing is computed where there are no elements.
        let values = &self.plan.values;
        self.plan.kernels.retain(|k| {
            k.writes().any(|v| {
                values
                    .get(v.index())
                    .is_some_and(|v| v.meta.shape.numel() > 0)
            })
        });
        let bounds = memory::place(&mut self.plan);
        bind::bind(&mut self.plan)?;
        self.plan.bill = bill::bill(&self.plan, bounds);
        Ok(self.plan)
    }
}

pub(super) const fn reading(value: ValueId) -> Operand {
    Operand {
        reads: Some(value),
        writes: None,
        binding: 0,
        base: 0,
    }
}

pub(super) const fn writing(value: ValueId) -> Operand {
    Operand {
        reads: None,
        writes: Some(value),
        binding: 0,
        base: 0,
    }
}

fn name_of(ir: &Ir, id: NodeId) -> String {
    let path = ir.path(id);
    let op = ir.node(id).op.name();
    if path.is_empty() {
        op.to_string()
    } else {
        format!("{path}.{op}")
    }
}
