//! Evaluation by a plan: the graph is lowered for a target and run by a runtime.

use std::sync::Arc;

use gradus_cpu::CpuRuntime;
use gradus_cpu::oracle::{Tensor, row};
use gradus_graph::backend::{BackendError, ModelMemory, ProgramId, Report, Runtime};
use gradus_graph::ops::Meta;
use gradus_graph::plan::{
    Plan, PlanError, Request, Role, SlabLayout, SparseGradient, Value, lower,
};
use gradus_graph::{Array, At, DType, Graph, ParamInfo, StateInfo, Target, Var, grad};

use super::evaluator::{Evaluator, Fed, Found};
use super::golden::{Trained, Training, initial_values, names};
use super::interpreter::Interpreter;

/// Makes a runtime.
pub(crate) type Make = dyn Fn(ModelMemory, &Plan) -> Result<Box<dyn Runtime>, String> + Send + Sync;

/// Lowers for a target, checks the plan's rules, and runs it twice, so that what a first step
/// leaves in memory cannot help or harm the second.
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) make: Box<Make>,
    pub(crate) share: f64,
    /// Whether the plan is that which takes the least memory.
    pub(crate) tight: bool,
}

impl Evaluator for Planned {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn share(&self) -> f64 {
        self.share
    }

    fn eval(&self, graph: &Graph, fed: &Fed, wanted: &[Var<'_>]) -> Result<Found, String> {
        let outputs = wanted.iter().enumerate();
        let mut request = Request {
            outputs: outputs.map(|(i, v)| (i.to_string(), *v)).collect(),
            ..self.request(graph)?
        };
        if self.tight {
            tighten(&mut request)?;
        }
        let mut session = self.start(&request)?;
        session.write_leaves(fed)?;
        let first = session.found(fed, wanted)?;
        // States changed in the first run.
        session.write_leaves(fed)?;
        let second = session.found(fed, wanted)?;
        let words = |f: &Found| f.values.iter().map(Array::to_words).collect::<Vec<_>>();
        if words(&first) != words(&second) {
            return Err(format!("two runs differ\n{:#}", session.plan));
        }
        Ok(second)
    }
}

/// Limits a step to the least memory that it can do with.
fn tighten(request: &mut Request<'_, '_>) -> Result<(), String> {
    request.memory_limit = Some(0);
    match lower(request) {
        Err(PlanError::Memory { least, .. }) => request.memory_limit = Some(least),
        Err(other) => return Err(other.to_string()),
        Ok(plan) => return Err(format!("a step in no memory\n{plan:#}")),
    }
    Ok(())
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

impl Planned {
    fn request<'a, 'g>(&'a self, graph: &'g Graph) -> Result<Request<'a, 'g>, String> {
        Ok(Request::new(
            "test",
            graph,
            SlabLayout::new(&graph.params(), &self.target).map_err(text)?,
            &self.target,
        ))
    }

    /// Plans, checks the plan, and compiles it over memory that holds a NaN wherever nothing is
    /// promised.
    fn start(&self, request: &Request<'_, '_>) -> Result<Session, String> {
        let plan = Arc::new(lower(request).map_err(text)?);
        plan.check().map_err(|e| format!("{e}\n{plan:#}"))?;
        let states = plan.buffers.iter().find(|b| b.role == Role::States);
        let memory = ModelMemory {
            slabs: request.slabs.clone(),
            optimizer_states: request.optimizer.map_or(0, |o| o.states().len()),
            state_bytes: states.map_or(0, |b| b.bytes),
        };
        let mut runtime = (self.make)(memory, &plan)?;
        let fail = |e: BackendError| format!("{e}\n{plan:#}");
        let program = runtime.compile(Arc::clone(&plan)).map_err(fail)?;
        for buffer in &plan.buffers {
            if matches!(buffer.role, Role::Slot(_) | Role::Outputs | Role::Ring) {
                let garbage = vec![f32::NAN.to_bits(); buffer.bytes as usize / 4];
                // Not every runtime lets others write there.
                drop(runtime.write(&buffer.role, 0, &garbage));
            }
        }
        Ok(Session {
            runtime,
            program,
            plan,
        })
    }

    /// Repeats a training.
    pub(crate) fn train(&self, training: &Training) -> Result<Trained, String> {
        let graph = Graph::new();
        let loss = (training.loss)(&graph);
        let request = Request {
            readbacks: vec![("loss".into(), loss)],
            gradients: grad(loss, &graph.param_vars())
                .into_iter()
                .map(Some)
                .collect(),
            optimizer: Some(training.optimizer.as_ref()),
            clip_norm: training.clip_norm,
            ..self.request(&graph)?
        };
        let mut session = self.start(&request)?;
        let mut fed = Fed::inputs(Vec::new());
        fed.params = initial_values(&graph);
        let states = graph.states();
        let initial = states
            .iter()
            .map(|s| Tensor::<f32>::full(s.meta.shape, s.init).to_array());
        fed.states = initial.collect();
        session.write_leaves(&fed)?;
        let infos = graph.params();
        let mut found = Trained {
            names: names(&graph),
            ..Trained::default()
        };
        for (step, batch) in (0u32..).zip(&training.batches) {
            fed.inputs = batch.clone();
            fed.row = row(step, 0, &training.optimizer.words(&At::step(step)));
            let report = session.step(&fed)?;
            found.losses.push(session.loss(&report));
            if step == 0 {
                found.gradients = session.gradients(&infos)?;
            }
            let after = [
                session.slab(&infos, Role::Params)?,
                session.states(&states)?,
            ];
            found.after.push(after.concat());
        }
        found.states = vec![Vec::new(); infos.len()];
        for k in 0..training.optimizer.states().len() {
            let values = session.slab(&infos, |shard| Role::OptimizerState(k, shard))?;
            for (states, value) in found.states.iter_mut().zip(values) {
                states.push(value);
            }
        }
        Ok(found)
    }
}

/// A plan in a runtime.
struct Session {
    runtime: Box<dyn Runtime>,
    program: ProgramId,
    plan: Arc<Plan>,
}

impl Session {
    fn fail(&self, e: BackendError) -> String {
        format!("{e}\n{:#}", self.plan)
    }

    fn read(&mut self, role: &Role, first: u64, meta: Meta) -> Result<Array, String> {
        let count = meta.shape.numel() as u64;
        let words = self.runtime.read(self.program, role, first, count);
        let words = words.map_err(|e| self.fail(e))?;
        Array::from_words(meta.shape, meta.dtype, &words).map_err(text)
    }

    /// Parameters and states.
    fn write_leaves(&mut self, fed: &Fed) -> Result<(), String> {
        let plan = Arc::clone(&self.plan);
        let mut write = |role: &Role, first: u64, array: &Array| {
            let written = self.runtime.write(role, first, &array.to_words());
            written.map_err(|e| format!("{e}\n{plan:#}"))
        };
        for (segment, array) in plan.slabs.segments.iter().zip(&fed.params) {
            write(&Role::Params(segment.shard), segment.offset, array)?;
        }
        let is_state = |v: &&Value| plan.buffers[v.buffer.index()].role == Role::States;
        let states = plan.values.iter().filter(is_state);
        for (value, array) in states.zip(&fed.states) {
            write(&Role::States, value.offset / 4, array)?;
        }
        Ok(())
    }

    /// One step on these inputs.
    fn step(&mut self, fed: &Fed) -> Result<Report, String> {
        let upload = self.plan.buffers.iter().find(|b| b.role == Role::Upload);
        let mut upload = vec![0u32; upload.map_or(0, |b| b.bytes as usize / 4)];
        for (input, array) in self.plan.inputs.iter().zip(&fed.inputs) {
            let first = self.plan.values[input.value.index()].offset as usize / 4;
            let words = array.to_words();
            upload[first..first + words.len()].copy_from_slice(&words);
        }
        let ticket = self.runtime.submit(self.program, &[fed.row], &upload);
        let ticket = ticket.map_err(|e| self.fail(e))?;
        self.runtime.wait(ticket).map_err(|e| self.fail(e))
    }

    fn found(&mut self, fed: &Fed, wanted: &[Var<'_>]) -> Result<Found, String> {
        let report = self.step(fed)?;
        let plan = Arc::clone(&self.plan);
        let outputs = plan.outputs.iter().map(|(name, id)| {
            let value = &plan.values[id.index()];
            let shape = wanted[name.parse::<usize>().map_err(text)?].shape();
            let meta = Meta::new(shape, value.meta.dtype);
            self.read(&Role::Outputs, value.offset / 4, meta)
        });
        Ok(Found {
            values: outputs.collect::<Result<_, _>>()?,
            bad_indices: report.errors.into_iter().filter(|&e| e != 0).collect(),
        })
    }

    /// The loss that a step reported.
    fn loss(&self, report: &Report) -> f64 {
        let readback = &self.plan.readbacks[0];
        let value = &self.plan.values[readback.value.index()];
        let first = value.offset as usize / 4;
        let terms = &report.rows[0][first..first + value.meta.shape.numel()];
        terms.iter().map(|&t| f64::from(t)).sum::<f64>() * readback.scale
    }

    /// The model's states.
    fn states(&mut self, infos: &[StateInfo]) -> Result<Vec<Array>, String> {
        let plan = Arc::clone(&self.plan);
        let is_state = |v: &&Value| plan.buffers[v.buffer.index()].role == Role::States;
        let values = plan.values.iter().filter(is_state).zip(infos);
        values
            .map(|(value, info)| self.read(&Role::States, value.offset / 4, info.meta))
            .collect()
    }

    /// The gradient of each parameter.
    fn gradients(&mut self, infos: &[ParamInfo]) -> Result<Vec<Array>, String> {
        let plan = Arc::clone(&self.plan);
        let each = infos.iter().map(|info| {
            let name = |i: usize| &plan.slabs.segments[i].name;
            let Some(sparse) = plan.sparse.iter().find(|s| *name(s.param) == info.name) else {
                return self
                    .slab(std::slice::from_ref(info), Role::Grads)?
                    .pop()
                    .ok_or("none".into());
            };
            let [first, sums] = [sparse.first, sparse.sums].map(|id| {
                let value = &plan.values[id.index()];
                self.read(&Role::Outputs, value.offset / 4, value.meta)
            });
            let (first, sums) = (first?.to_words(), sums?.to_words());
            let width = info.shape.numel() / first.len();
            let words = SparseGradient::words(&first, &sums, width);
            Array::from_words(info.shape, DType::F32, &words).map_err(text)
        });
        each.collect()
    }

    /// One value for each parameter, from a slab of this role.
    fn slab(
        &mut self,
        infos: &[ParamInfo],
        role: impl Fn(usize) -> Role,
    ) -> Result<Vec<Array>, String> {
        let plan = Arc::clone(&self.plan);
        let values = infos.iter().map(|info| {
            let segment = plan.slabs.find(&info.name).ok_or("no segment")?;
            let meta = Meta::new(info.shape, DType::F32);
            self.read(&role(segment.shard), segment.offset, meta)
        });
        values.collect()
    }
}

/// The CPU executor.
pub(crate) fn executor() -> Planned {
    Planned {
        name: "the CPU executor".into(),
        target: Target::cpu(),
        make: Box::new(|memory, _| Ok(Box::new(CpuRuntime::new(memory)))),
        share: 0.0,
        tight: false,
    }
}

/// The same in as little memory as the planner can.
pub(crate) fn tight() -> Planned {
    Planned {
        name: "the CPU executor in little memory".into(),
        tight: true,
        ..executor()
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
        make: Box::new(|memory, _| Ok(Box::new(Interpreter::new(memory)))),
        share: 0.0,
        tight: false,
    };
    targets.into_iter().map(planned).collect()
}

/// Plans for a device, run there.
pub(crate) fn on(device: &gradus::train::Device) -> Planned {
    let device = device.clone();
    Planned {
        name: device.to_string(),
        target: device.target(),
        make: Box::new(move |memory, _| device.runtime(memory).map_err(text)),
        share: 1e-4,
        tight: false,
    }
}
