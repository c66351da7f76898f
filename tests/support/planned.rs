//! Evaluation by a plan: the graph is lowered for a target and run by a runtime.

use std::sync::Arc;

use gradus_cpu::CpuRuntime;
use gradus_graph::backend::{ModelMemory, Runtime};
use gradus_graph::plan::{Plan, Request, Role, SlabLayout, lower};
use gradus_graph::{Array, Graph, Target, Var};

use super::evaluator::{Evaluator, Fed, Found};
use super::interpreter::Interpreter;

/// Makes a runtime.
pub(crate) type Make = dyn Fn(ModelMemory) -> Result<Box<dyn Runtime>, String> + Send + Sync;

/// Lowers for a target, checks the plan's rules, and runs it twice, so that what a first step
/// leaves in memory cannot help or harm the second.
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) make: Box<Make>,
}

impl Evaluator for Planned {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn eval(&self, graph: &Graph, fed: &Fed, wanted: &[Var<'_>]) -> Result<Found, String> {
        let slabs = SlabLayout::new(&graph.params(), &self.target).map_err(text)?;
        let outputs = wanted
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), *v))
            .collect();
        let plan = lower(&Request {
            name: "test",
            graph,
            outputs,
            readbacks: Vec::new(),
            gradients: Vec::new(),
            optimizer: None,
            clip_norm: None,
            resident: None,
            slabs: slabs.clone(),
            target: &self.target,
        })
        .map_err(text)?;
        plan.check().map_err(|e| format!("{e}\n{plan:#}"))?;
        self.run(&Arc::new(plan), slabs, fed, wanted)
    }
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

impl Planned {
    fn run(
        &self,
        plan: &Arc<Plan>,
        slabs: SlabLayout,
        fed: &Fed,
        wanted: &[Var<'_>],
    ) -> Result<Found, String> {
        let bytes = |role: &Role| {
            plan.buffers
                .iter()
                .find(|b| b.role == *role)
                .map_or(0, |b| b.bytes)
        };
        let memory = ModelMemory {
            slabs,
            optimizer_states: 0,
            state_bytes: bytes(&Role::States),
        };
        let mut runtime = (self.make)(memory)?;
        let fail = |e: gradus_graph::backend::BackendError| format!("{e}\n{plan:#}");
        let program = runtime.compile(Arc::clone(plan)).map_err(fail)?;
        for (segment, array) in plan.slabs.segments.iter().zip(&fed.params) {
            runtime
                .write(
                    &Role::Params(segment.shard),
                    segment.offset,
                    &array.to_words(),
                )
                .map_err(fail)?;
        }
        let states = plan.values.iter().filter(|v| {
            plan.buffers
                .get(v.buffer.index())
                .is_some_and(|b| b.role == Role::States)
        });
        for (value, array) in states.zip(&fed.states) {
            runtime
                .write(&Role::States, value.offset / 4, &array.to_words())
                .map_err(fail)?;
        }
        let mut upload = vec![0u32; bytes(&Role::Upload) as usize / 4];
        for (input, array) in plan.inputs.iter().zip(&fed.inputs) {
            let first = plan.values[input.value.index()].offset as usize / 4;
            let words = array.to_words();
            upload[first..first + words.len()].copy_from_slice(&words);
        }
        let mut found = None;
        for _ in 0..2 {
            let ticket = runtime.submit(program, &[fed.row], &upload).map_err(fail)?;
            let report = runtime.wait(ticket).map_err(fail)?;
            let mut values = Vec::new();
            for (name, value) in &plan.outputs {
                let value = &plan.values[value.index()];
                let (first, count) = (value.offset / 4, value.meta.shape.numel() as u64);
                let words = runtime
                    .read(program, &Role::Outputs, first, count)
                    .map_err(fail)?;
                let shape = wanted[name.parse::<usize>().map_err(text)?].shape();
                values.push(Array::from_words(shape, value.meta.dtype, &words).map_err(text)?);
            }
            let bad_indices = report.errors.into_iter().filter(|&e| e != 0).collect();
            found = Some(Found {
                values,
                bad_indices,
            });
        }
        found.ok_or_else(|| "no step was run".into())
    }
}

/// The CPU executor.
pub(crate) fn executor() -> Planned {
    Planned {
        name: "the CPU executor".into(),
        target: Target::cpu(),
        make: Box::new(|memory| Ok(Box::new(CpuRuntime::new(memory)))),
    }
}

/// Plans for every named target, run by what their kernels mean: the planner alone.
pub(crate) fn interpreted() -> Vec<Planned> {
    let targets = [
        Target::webgpu(),
        Target::discrete(),
        Target::lavapipe(),
        Target::cpu(),
    ];
    let planned = |target: Target| Planned {
        name: format!("plan for {}", target.name),
        target,
        make: Box::new(|memory| Ok(Box::new(Interpreter::new(memory)))),
    };
    targets.into_iter().map(planned).collect()
}
