//! A stand-in for an executor: runs a plan by what its kernels mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use gradus_cpu::oracle::{self, Feeds, Tensor};
use gradus_graph::backend::{
    BackendError, ModelMemory, Observer, ProgramId, Report, Runtime, StepRow, Ticket,
};
use gradus_graph::plan::{KernelKind, Plan, Role, ValueId};
use gradus_graph::timeline::Timeline;
use gradus_graph::{Array, bf16, step_row};

pub(crate) struct Interpreter {
    buffers: BTreeMap<Role, Vec<u32>>,
    plans: Vec<Arc<Plan>>,
    reports: BTreeMap<u64, Report>,
    next: u64,
}

impl Interpreter {
    pub(crate) fn new(memory: ModelMemory) -> Self {
        let mut buffers = BTreeMap::new();
        for (s, &n) in memory.slabs.shards.iter().enumerate() {
            let zeros = vec![0; n as usize];
            buffers.insert(Role::Params(s), zeros.clone());
            buffers.insert(Role::Grads(s), zeros.clone());
            for k in 0..memory.optimizer_states {
                buffers.insert(Role::OptimizerState(k, s), zeros.clone());
            }
        }
        buffers.insert(Role::States, vec![0; memory.state_bytes as usize / 4]);
        Self {
            buffers,
            plans: Vec::new(),
            reports: BTreeMap::new(),
            next: 0,
        }
    }

    fn get(&self, plan: &Plan, value: ValueId) -> Vec<u32> {
        let v = &plan.values[value.index()];
        let first = v.offset as usize / 4;
        let words = &self.buffers[&plan.buffers[v.buffer.index()].role];
        let words = &words[first..first + v.bytes() as usize / 4];
        match v.packed {
            true => (0..v.meta.shape.numel())
                .map(|i| bf16::unpacked(words, i))
                .collect(),
            false => words.to_vec(),
        }
    }

    fn put(&mut self, plan: &Plan, value: ValueId, words: &[u32]) {
        let v = &plan.values[value.index()];
        let first = v.offset as usize / 4;
        let pair = |x: &[u32]| x[0] >> 16 | x.get(1).unwrap_or(&0) & 0xffff_0000;
        let words = &match v.packed {
            true => words.chunks(2).map(pair).collect(),
            false => words.to_vec(),
        };
        let buffer = self
            .buffers
            .get_mut(&plan.buffers[v.buffer.index()].role)
            .unwrap();
        buffer[first..first + words.len()].copy_from_slice(words);
    }

    fn step(
        &mut self,
        plan: &Plan,
        row: &StepRow,
        upload: &[u32],
        observer: &mut Observer<'_>,
    ) -> Result<Report, BackendError> {
        for b in &plan.buffers {
            let n = b.bytes as usize / 4;
            let held = self.buffers.entry(b.role.clone()).or_default();
            if held.len() < n {
                held.resize(n, 0);
            }
        }
        let fed = self.buffers.get_mut(&Role::Upload);
        if let Some(b) = fed.filter(|_| !upload.is_empty()) {
            *b = upload.to_vec();
        }
        for (value, array) in &plan.literals {
            self.put(plan, *value, &array.to_words());
        }
        let mut errors = vec![0u32; plan.sites.len()];
        for (k, kernel) in plan.kernels.iter().enumerate() {
            let before: Vec<Option<Vec<u32>>> = kernel
                .operands
                .iter()
                .map(|o| o.reads.map(|v| self.get(plan, v)))
                .collect();
            if let KernelKind::Take(take) = &kernel.kind {
                let order = before[take.order].clone().unwrap();
                let first = row[step_row::BATCH as usize] as usize;
                for &(from, to, words) in &take.arrays {
                    let source = before[from].clone().unwrap();
                    let taken: Vec<u32> = order[first..first + take.count]
                        .iter()
                        .flat_map(|&i| source[i as usize * words..][..words].to_vec())
                        .collect();
                    self.put(plan, kernel.operands[to].writes.unwrap(), &taken);
                }
            } else {
                let inputs = kernel.meaning.inputs.iter().map(|&v| {
                    let meta = plan.values[v.index()].meta;
                    Tensor::<f32>::from_array(
                        &Array::from_words(meta.shape, meta.dtype, &self.get(plan, v)).unwrap(),
                    )
                });
                // A leaf may have another view of the value.
                let mut inputs: Vec<Tensor<f32>> = inputs.collect();
                for node in &kernel.meaning.nodes {
                    if let gradus_graph::ops::Op::Input(i) = node.op {
                        let t = inputs[i as usize].clone();
                        inputs[i as usize] = t.reshape(node.meta.shape).unwrap();
                    }
                }
                let feeds = Feeds {
                    row: *row,
                    ..Feeds::inputs(inputs)
                };
                let wanted: Vec<_> = kernel.meaning.outputs.iter().map(|o| o.1).collect();
                let found = oracle::eval(&kernel.meaning.nodes, &feeds, &wanted)
                    .map_err(|e| BackendError::Other(format!("{}: {e}", kernel.label).into()))?;
                for bad in &found.bad_indices {
                    errors[0] = errors[0].max(bad.bits);
                }
                let values: Vec<_> = kernel.meaning.outputs.iter().zip(&found.values).collect();
                for ((value, _), t) in values {
                    self.put(plan, *value, &t.to_array().to_words());
                }
            }
            let after: Vec<Option<Vec<u32>>> = kernel
                .operands
                .iter()
                .map(|o| o.writes.map(|v| self.get(plan, v)))
                .collect();
            observer(k, &before, &after)?;
        }
        let ring = self.buffers.get(&Role::Ring).cloned().unwrap_or_default();
        let ring = ring
            .iter()
            .take(plan.ring_row)
            .map(|&w| f32::from_bits(w))
            .collect();
        Ok(Report {
            rows: vec![ring],
            errors,
        })
    }
}

impl Runtime for Interpreter {
    fn compile(&mut self, plan: Arc<Plan>) -> Result<ProgramId, BackendError> {
        self.plans.push(plan);
        Ok(ProgramId(self.plans.len() - 1))
    }

    fn write(&mut self, role: &Role, first: u64, words: &[u32]) -> Result<(), BackendError> {
        let first = first as usize;
        let buffer = self.buffers.entry(role.clone()).or_default();
        if buffer.len() < first + words.len() {
            buffer.resize(first + words.len(), 0);
        }
        buffer[first..first + words.len()].copy_from_slice(words);
        Ok(())
    }

    fn read(
        &mut self,
        _: ProgramId,
        role: &Role,
        first: u64,
        count: u64,
    ) -> Result<Vec<u32>, BackendError> {
        let first = first as usize;
        let buffer = self
            .buffers
            .get(role)
            .ok_or_else(|| BackendError::Access(format!("no {role}")))?;
        Ok(buffer[first..first + count as usize].to_vec())
    }

    fn submit(
        &mut self,
        program: ProgramId,
        rows: &[StepRow],
        upload: &[u32],
    ) -> Result<Ticket, BackendError> {
        let plan = Arc::clone(&self.plans[program.0]);
        let mut all = Report::default();
        for row in rows {
            let report = self.step(&plan, row, upload, &mut |_, _, _| Ok(()))?;
            all.rows.extend(report.rows);
            all.errors.resize(report.errors.len(), 0);
            for (a, b) in all.errors.iter_mut().zip(report.errors) {
                *a = (*a).max(b);
            }
        }
        self.next += 1;
        self.reports.insert(self.next, all);
        Ok(Ticket(self.next))
    }

    fn wait(&mut self, ticket: Ticket) -> Result<Report, BackendError> {
        Ok(self.reports.remove(&ticket.0).unwrap_or_default())
    }

    fn step_through(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        upload: &[u32],
        observer: &mut Observer<'_>,
    ) -> Result<Report, BackendError> {
        let plan = Arc::clone(&self.plans[program.0]);
        self.step(&plan, row, upload, observer)
    }

    fn profile(
        &mut self,
        _: ProgramId,
        _: &StepRow,
        _: &[u32],
    ) -> Result<(Report, Timeline), BackendError> {
        Err(BackendError::Access("an interpreter has no speed".into()))
    }

    fn describe(&self) -> String {
        "interpreter".into()
    }
}
