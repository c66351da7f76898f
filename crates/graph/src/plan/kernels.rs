//! Kernels from clusters.

use std::collections::BTreeMap;

use super::alone;
use super::build::{Destination, PlanError, copy_wanted_leaves};
use super::builder::{Builder, reading, writing};
use super::cluster::{Clusters, strip};
use super::home::Homes;
use super::kernel::{
    ConvKernel, KernelKind, MatMulKernel, Matrix, Operand, ScanKernel, ScatterKernel, SortKernel,
    UpdateKernel,
};
use super::lower::{Lowering, collapse, fragment};
use super::{IndexSite, Readback, Role, SparseGradient, ValueId};
use crate::ops::{Meta, Op};
use crate::passes::{self, Ir};
use crate::{DType, Graph, NodeId, Part, Target, Var};

impl Builder {
    /// One kernel for another graph whose inputs are these values; `outputs` are stored there.
    pub(super) fn lower_graph(
        &mut self,
        graph: &Graph,
        inputs: &[ValueId],
        outputs: &[(Var<'_>, ValueId)],
        label: &str,
    ) -> Result<(), PlanError> {
        match self.lower_with(
            graph,
            inputs,
            outputs,
            (label, |ir, target| Clusters::together(ir, target)),
        )? {
            1 => Ok(()),
            // Two kernels would read what the other has already replaced.
            n => Err(PlanError::Request(format!(
                "{label}: not a pointwise expression, but {n} kernels"
            ))),
        }
    }

    /// The same for a graph that may need several kernels, whose number it gives; no output is a
    /// place of an input.
    pub(super) fn lower_kernels(
        &mut self,
        graph: &Graph,
        inputs: &[ValueId],
        outputs: &[(Var<'_>, ValueId)],
        label: &str,
    ) -> Result<usize, PlanError> {
        self.lower_with(
            graph,
            inputs,
            outputs,
            (label, |ir, target| {
                Clusters::new(ir, target, Homes::default())
            }),
        )
    }

    fn lower_with(
        &mut self,
        graph: &Graph,
        inputs: &[ValueId],
        outputs: &[(Var<'_>, ValueId)],
        (label, cluster): (&str, for<'a> fn(&'a Ir, &Target) -> Clusters<'a>),
    ) -> Result<usize, PlanError> {
        graph.check()?;
        let roots = outputs.iter().map(|(var, _)| var.id()).collect();
        let mut ir = passes::run(Ir::of(graph, roots), &self.plan.target);
        copy_wanted_leaves(&mut ir);
        let leaves = (0u32..).zip(inputs).map(|(i, &v)| ((0, i), v)).collect();
        let leaves = std::mem::replace(&mut self.leaf_values, leaves);
        let values = std::mem::take(&mut self.values);
        let before = self.plan.kernels.len();
        // Results take the place of inputs, so there are fewer bindings than operands.
        let roomy = Target {
            max_bindings: usize::MAX,
            ..self.plan.target.clone()
        };
        let clusters = cluster(&ir, &roomy);
        self.kernels(
            &ir,
            &clusters,
            outputs
                .iter()
                .map(|&(_, v)| Destination::Value(v))
                .collect(),
        );
        self.leaf_values = leaves;
        self.values = values;
        let made = self.plan.kernels.get_mut(before..).unwrap_or_default();
        for kernel in &mut *made {
            kernel.label = label.to_string();
        }
        Ok(made.len())
    }

    /// Kernels for all clusters; returns states with the values that are to be copied to them.
    pub(super) fn kernels(
        &mut self,
        ir: &Ir,
        clusters: &Clusters<'_>,
        destinations: Vec<Destination>,
    ) -> Vec<(ValueId, ValueId)> {
        let mut stores: BTreeMap<NodeId, Vec<ValueId>> = BTreeMap::new();
        let mut late = Vec::new();
        for (destination, &root) in destinations.into_iter().zip(&ir.roots) {
            let base = strip(ir, root);
            let meta = ir.node(root).meta;
            let value = match destination {
                Destination::Grad(i, first) => {
                    let Some(segment) = self.plan.slabs.segments.get(i).cloned() else {
                        continue;
                    };
                    let buffer = self.buffer(Role::Grads(segment.shard));
                    let name = format!("grad.{}", segment.name);
                    self.value(name, meta, buffer, (segment.offset + first) * 4)
                }
                Destination::First(param) => {
                    let first = self.looked_up(param, "first", meta);
                    let sums = first;
                    let sparse = SparseGradient { param, first, sums };
                    self.plan.sparse.push(sparse);
                    first
                }
                Destination::Sums(param) => {
                    let sums = self.looked_up(param, "sums", meta);
                    let mut sparse = self.plan.sparse.iter_mut();
                    if let Some(sparse) = sparse.find(|s| s.param == param) {
                        sparse.sums = sums;
                    }
                    sums
                }
                Destination::Output(name) => {
                    let value = self.appended(name.clone(), meta, Role::Outputs);
                    self.plan.outputs.push((name, value));
                    value
                }
                Destination::Ring(name, scale) => {
                    let value = self.appended(name.clone(), meta, Role::Ring);
                    self.plan.readbacks.push(Readback { name, value, scale });
                    stores.entry(base).or_default().push(value);
                    continue;
                }
                Destination::Value(value) => value,
                Destination::State(state) => {
                    let value = self.loaded(ir, base);
                    stores.entry(base).or_default();
                    if let Some(&to) = self.state_values.get(&state) {
                        late.push((value, to));
                    }
                    continue;
                }
            };
            stores.entry(base).or_default().push(value);
            // Other kernels may read it there: no copy of its own is needed.
            self.values.entry(base).or_insert(value);
        }
        for k in 0..clusters.list.len() {
            self.cluster_kernel(ir, clusters, k, &stores);
        }
        if let Some(ring) = self.plan.buffers.iter().find(|b| b.role == Role::Ring) {
            self.plan.ring_row = usize::try_from(ring.bytes / 4).unwrap_or(0);
        }
        late
    }

    /// What the gradient of a parameter is looked up in: it lives until the optimizer has run, and
    /// can be read then.
    fn looked_up(&mut self, param: usize, what: &str, meta: Meta) -> ValueId {
        let segment = self.plan.slabs.segments.get(param);
        let name = segment.map_or("", |s| &s.name);
        self.appended(format!("grad.{name}.{what}"), meta, Role::Outputs)
    }

    fn cluster_kernel(
        &mut self,
        ir: &Ir,
        clusters: &Clusters<'_>,
        k: usize,
        stores: &BTreeMap<NodeId, Vec<ValueId>>,
    ) {
        let cluster = &clusters.list[k];
        // Programs store a node in several places; other kernels write once and are copied from.
        let mut written: Vec<(ValueId, NodeId)> = Vec::new();
        let mut once: Vec<(ValueId, NodeId)> = Vec::new();
        let mut copies = Vec::new();
        for &id in cluster.nodes.iter().chain(&cluster.row_sum) {
            if !clusters.stored.contains(&id) {
                continue;
            }
            let mut places = self.places(ir, clusters, id, stores);
            if cluster.alone || cluster.row_sum == Some(id) {
                let first = places.remove(0);
                once.push((first, id));
                copies.extend(places.into_iter().map(|place| (first, place)));
            } else {
                written.extend(places.into_iter().map(|v| (v, id)));
            }
        }
        let wanted: Vec<(ValueId, NodeId)> = written.iter().chain(&once).copied().collect();
        if wanted.is_empty() {
            return;
        }
        let mut lowering = Lowering::new(ir, clusters, k, self.plan.sites.len());
        let results: Vec<NodeId> = once.iter().map(|(_, id)| *id).collect();
        let mut kind = match (cluster.product, results.first()) {
            (Some(product), _) => product_kernel(ir, product, &mut lowering),
            (None, Some(_)) => alone::kernel(ir, &results, STORES, &mut lowering),
            (None, None) => KernelKind::Program(Default::default()),
        };
        for (i, (_, id)) in written.iter().enumerate() {
            lowering.store(*id, STORES + i);
        }
        self.sites(ir, &lowering);
        let loads = lowering.loads.clone();
        let program = lowering.finish();
        let flops = match &mut kind {
            KernelKind::Program(p) => {
                *p = program;
                collapse(p);
                work(p)
            }
            KernelKind::MatMul(m) => {
                m.epilogue = program;
                m.row_sum = once.first().map(|_| STORES + written.len());
                let sums = m.row_sum.map_or(0, |_| m.m * m.k);
                (2 * m.batch * m.m * m.n * m.k + sums) as u64 + work(&m.epilogue)
            }
            KernelKind::Conv(c) => {
                c.epilogue = program;
                c.row_sum = once.first().map(|_| STORES + written.len());
                let [groups, m, n, k] = c.conv.product(c.images);
                let sums = c.row_sum.map_or(0, |_| groups * m * k);
                (2 * groups * m * n * k + sums) as u64 + work(&c.epilogue)
            }
            KernelKind::Attention(a) => a.flops(),
            KernelKind::Scatter(s) => (s.count * s.width) as u64,
            KernelKind::Scan(s) => (s.outer * s.length * s.inner) as u64,
            KernelKind::Sort(_) | KernelKind::Update(_) | KernelKind::Take(_) => 0,
        };
        let values: BTreeMap<NodeId, ValueId> =
            loads.iter().map(|&id| (id, self.loaded(ir, id))).collect();
        let mut operands: Vec<Operand> = loads.iter().map(|id| reading(values[id])).collect();
        renumber(&mut kind, operands.len());
        operands.extend(wanted.iter().map(|(v, _)| writing(*v)));
        // Operands that no expression loads are leaves of the meaning too, but not views: where
        // one was copied for another kernel, this one may read what it is a view of.
        let is_loaded = |id: NodeId| {
            loads.contains(&id) || (clusters.is_loaded(id, k) && !ir.node(id).op.is_view())
        };
        let meaning = fragment(ir, &wanted, &is_loaded, &mut |id| self.loaded(ir, id));
        let mut label = label(
            ir,
            cluster.nodes.iter().copied(),
            wanted.last().map(|w| w.1),
        );
        let again = cluster
            .nodes
            .iter()
            .any(|n| ir.node(*n).part == Part::Again);
        if again {
            label.insert_str(0, "again/");
        }
        self.push(label, kind, operands, meaning, flops);
        if let Some(kernel) = self.plan.kernels.last_mut() {
            kernel.again = again;
        }
        copies
            .into_iter()
            .for_each(|(from, to)| self.copy(from, to));
    }

    /// Where a stored node is written: what is wanted of it, and what other kernels load.
    fn places(
        &mut self,
        ir: &Ir,
        clusters: &Clusters<'_>,
        id: NodeId,
        stores: &BTreeMap<NodeId, Vec<ValueId>>,
    ) -> Vec<ValueId> {
        let mut places = stores.get(&id).cloned().unwrap_or_default();
        let read = clusters.loaded.contains(&id) || self.values.contains_key(&id);
        if read || places.is_empty() {
            let own = self.loaded(ir, id);
            if !places.contains(&own) {
                places.push(own);
            }
        }
        places
    }

    fn sites(&mut self, ir: &Ir, lowering: &Lowering<'_>) {
        for (id, bound) in &lowering.checks {
            let layer = match ir.path(*id) {
                "" => "model".to_string(),
                path => path.to_string(),
            };
            self.plan.sites.push(IndexSite {
                layer,
                bound: *bound,
                input: self.taken(ir, *id),
            });
        }
    }

    /// The input whose elements a node has as they are, through views or conversions.
    fn taken(&self, ir: &Ir, mut id: NodeId) -> Option<ValueId> {
        loop {
            let node = ir.node(id);
            match &node.op {
                Op::Input(number) => return self.leaf_values.get(&(0, *number)).copied(),
                Op::CheckIndex { .. } | Op::Cast(DType::I32 | DType::U32) => {}
                op if op.is_view() => {}
                _ => return None,
            }
            id = *node.inputs.first()?;
        }
    }
}

/// A product, without its epilogue.
fn product_kernel(ir: &Ir, product: NodeId, lowering: &mut Lowering<'_>) -> KernelKind {
    let node = ir.node(product);
    if let Op::Conv(conv) = &node.op {
        let mut factor = |i: usize| lowering.factor(strip(ir, node.inputs[i]));
        return KernelKind::Conv(ConvKernel {
            conv: conv.clone(),
            images: ir.node(node.inputs[0]).meta.shape[0],
            a: factor(0),
            b: factor(1),
            row_sum: None,
            epilogue: Default::default(),
        });
    }
    let (ta, tb) = match &node.op {
        Op::MatMul(m) => (m.trans_a, m.trans_b),
        _ => (false, false),
    };
    let mut side = |x: NodeId, transposed: bool| {
        let shape = ir.node(x).meta.shape;
        let rank = shape.rank();
        let (rows, cols) = (shape[rank - 2], shape[rank - 1]);
        match super::operand::matrix(ir, x) {
            Some(m) => Matrix {
                operand: lowering.load(m.base),
                transposed: transposed != m.swapped,
                offset: m.offset,
                row_stride: m.row_stride,
                batch_stride: m.batch_stride,
            },
            None => Matrix {
                operand: lowering.load(strip(ir, x)),
                transposed,
                offset: 0,
                row_stride: cols,
                batch_stride: rows * cols,
            },
        }
    };
    let (a, b) = (side(node.inputs[0], ta), side(node.inputs[1], tb));
    let shape = node.meta.shape;
    let rank = shape.rank();
    KernelKind::MatMul(MatMulKernel {
        batch: shape[..rank - 2].iter().product(),
        m: shape[rank - 2],
        n: shape[rank - 1],
        k: inner(ir, product),
        a,
        b,
        row_sum: None,
        epilogue: Default::default(),
    })
}

/// Number that store operands have until all loads are known.
const STORES: usize = 1 << 20;

fn renumber(kind: &mut KernelKind, base: usize) {
    let moved = |operand: &mut usize| *operand = *operand - STORES + base;
    match kind {
        KernelKind::MatMul(MatMulKernel { row_sum, .. })
        | KernelKind::Conv(ConvKernel { row_sum, .. }) => row_sum.iter_mut().for_each(moved),
        KernelKind::Attention(a) => {
            let all = a.operands_mut().into_iter().map(|(_, o)| o);
            all.filter(|o| **o >= STORES).for_each(moved);
        }
        KernelKind::Scatter(ScatterKernel { out, .. })
        | KernelKind::Scan(ScanKernel { out, .. })
        | KernelKind::Sort(SortKernel { out, .. })
        | KernelKind::Update(UpdateKernel { out, .. }) => moved(out),
        KernelKind::Program(_) | KernelKind::Take(_) => {}
    }
    if let Some(program) = kind.program_mut() {
        program
            .stores
            .iter_mut()
            .for_each(|s| moved(&mut s.operand));
    }
}

/// Terms of a product.
fn inner(ir: &Ir, product: NodeId) -> usize {
    let node = ir.node(product);
    let a = ir.node(node.inputs[0]).meta.shape;
    let transposed = matches!(&node.op, Op::MatMul(m) if m.trans_a);
    a[a.rank() - if transposed { 2 } else { 1 }]
}

/// Floating-point operations of a program.
fn work(program: &crate::Program) -> u64 {
    let full = program.full();
    let (rows, cols) = (program.rows() as u64, program.cols() as u64);
    let arithmetic = |e: &crate::Expr| {
        matches!(
            e,
            crate::Expr::Unary(..)
                | crate::Expr::Binary(..)
                | crate::Expr::Select(..)
                | crate::Expr::Reduce(..)
                | crate::Expr::ArgReduce(..)
        )
    };
    let cost = |(e, full): (&crate::Expr, &bool)| match e {
        e if !arithmetic(e) => 0,
        e if e.is_reduction() || *full => rows * cols,
        _ => rows,
    };
    program.exprs.iter().zip(&full).map(cost).sum()
}

/// The layer of the last result and the ops that matter, in order.
fn label(ir: &Ir, nodes: impl Iterator<Item = NodeId>, last: Option<NodeId>) -> String {
    let mut ops: Vec<&str> = Vec::new();
    for node in nodes.map(|n| ir.node(n)) {
        let name = node.op.name();
        if !node.op.is_view() && ops.last() != Some(&name) {
            ops.push(name);
        }
    }
    if ops.len() > 5 {
        let rest = format!("{}…", ops[..4].join("+"));
        return join_label(last.map_or("", |l| ir.path(l)), &rest);
    }
    join_label(last.map_or("", |l| ir.path(l)), &ops.join("+"))
}

fn join_label(path: &str, ops: &str) -> String {
    let ops = if ops.is_empty() { "copy" } else { ops };
    if path.is_empty() {
        ops.to_string()
    } else {
        format!("{path}/{ops}")
    }
}
