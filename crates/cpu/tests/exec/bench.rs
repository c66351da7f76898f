//! A workbench: one kernel over operands of its own, run by the executor.

use std::sync::Arc;

use gradus_cpu::CpuRuntime;
use gradus_graph::backend::{ModelMemory, Report, Runtime, StepRow};
use gradus_graph::ops::Meta;
use gradus_graph::plan::{
    Bill, Binding, Buffer, BufferId, Fragment, IndexSite, Kernel, KernelKind, Operand, Plan, Role,
    SlabLayout, Value, ValueId,
};
use gradus_graph::{DType, Shape, Target};

/// What a kernel does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Read,
    Write,
    Both,
}

/// Words that a kernel works on. Their content is what the kernel finds; NaN where it only writes.
#[derive(Clone, Debug)]
pub struct Memory {
    pub words: Vec<u32>,
    pub dtype: DType,
    pub used: Use,
}

impl Memory {
    pub fn floats(values: &[f32]) -> Self {
        let words = values.iter().map(|v| v.to_bits()).collect();
        Self {
            words,
            dtype: DType::F32,
            used: Use::Read,
        }
    }

    pub fn words(words: Vec<u32>, dtype: DType) -> Self {
        Self {
            words,
            dtype,
            used: Use::Read,
        }
    }

    pub fn out(len: usize, dtype: DType) -> Self {
        Self {
            words: vec![f32::NAN.to_bits(); len],
            dtype,
            used: Use::Write,
        }
    }

    pub fn in_place(self) -> Self {
        Self {
            used: Use::Both,
            ..self
        }
    }
}

/// What a kernel left behind.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Of each operand.
    pub words: Vec<Vec<u32>>,
    pub report: Report,
}

impl Outcome {
    pub fn floats(&self, operand: usize) -> Vec<f32> {
        self.words[operand]
            .iter()
            .map(|w| f32::from_bits(*w))
            .collect()
    }
}

/// A plan of one kernel, with each operand in a slot of its own, a few words from its start.
pub fn plan(kind: KernelKind, memory: &[Memory], sites: usize, flops: u64) -> Plan {
    const BEFORE: usize = 16;
    let mut plan = Plan {
        name: "test".into(),
        target: Target::cpu(),
        kernels: Vec::new(),
        values: Vec::new(),
        buffers: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        readbacks: Vec::new(),
        ring_row: 0,
        sites: vec![
            IndexSite {
                layer: "table".into(),
                bound: 0,
                input: None,
            };
            sites
        ],
        literals: Vec::new(),
        slabs: SlabLayout::default(),
        resident: None,
        recomputed: None,
        sparse: Vec::new(),
        bill: Bill::default(),
    };
    let mut operands = Vec::new();
    let mut bindings = Vec::new();
    for (i, m) in memory.iter().enumerate() {
        let id = i as u32;
        let bytes = ((m.words.len() + BEFORE) * 4).next_multiple_of(16) as u64;
        plan.buffers.push(Buffer {
            role: Role::Slot(i),
            bytes,
        });
        plan.values.push(Value {
            name: format!("operand {i}"),
            meta: Meta::new(Shape::try_new(&[m.words.len()]).unwrap(), m.dtype),
            buffer: BufferId(id),
            offset: BEFORE as u64 * 4,
            packed: false,
        });
        let reads = (m.used != Use::Write).then_some(ValueId(id));
        let writes = (m.used != Use::Read).then_some(ValueId(id));
        operands.push(Operand {
            reads,
            writes,
            binding: i,
            base: BEFORE - 4,
        });
        bindings.push(Binding {
            buffer: BufferId(id),
            offset: 16,
            bytes: bytes - 16,
            writes: writes.is_some(),
        });
    }
    plan.kernels.push(Kernel {
        label: "kernel".into(),
        kind,
        operands,
        bindings,
        errors: None,
        meaning: Fragment::default(),
        flops,
        again: false,
    });
    plan
}

/// Runs a kernel twice on the same memory, on one thread and on two, and checks that all runs
/// agree to the last bit.
pub fn run(kind: KernelKind, memory: &[Memory], row: &StepRow) -> Outcome {
    let threads = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build()
            .unwrap();
        pool.install(|| run_once(&kind, memory, row))
    };
    let outcome = threads(1);
    assert_eq!(outcome, threads(2), "two threads give other bits than one");
    outcome
}

fn run_once(kind: &KernelKind, memory: &[Memory], row: &StepRow) -> Outcome {
    let mut runtime = CpuRuntime::new(ModelMemory::default());
    let flops = 1 << 40; // large enough for threads
    let program = runtime
        .compile(Arc::new(plan(kind.clone(), memory, 2, flops)))
        .unwrap();
    let mut outcomes = (0..2).map(|_| {
        runtime.overwrite_transients(f32::NAN.to_bits());
        for (i, m) in memory.iter().enumerate() {
            runtime.write(&Role::Slot(i), 16, &m.words).unwrap();
        }
        let ticket = runtime.submit(program, &[*row], &[]).unwrap();
        let report = runtime.wait(ticket).unwrap();
        let words = (0..memory.len()).map(|i| {
            let len = memory[i].words.len() as u64;
            runtime.read(program, &Role::Slot(i), 16, len).unwrap()
        });
        Outcome {
            words: words.collect(),
            report,
        }
    });
    let first = outcomes.next().unwrap();
    assert_eq!(
        first,
        outcomes.next().unwrap(),
        "the second run differs from the first"
    );
    first
}
