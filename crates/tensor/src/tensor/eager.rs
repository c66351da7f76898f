//! Expressions of tensors, each planned and compiled as a step of its own.

use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::{Arc, Mutex};

use gradus_graph::plan::{Binding, Kernel, Plan, PlanError, Request, Role, SlabLayout, lower};
use gradus_graph::{BuildError, Graph, Var, step_row};

use super::{Tensor, padded};
use crate::buffer::WORD;
use crate::health::lock;
use crate::launch::{Launch, launches, no_memory};
use crate::{
    BindGroup, Buffer, BufferRange, Commands, Device, Dispatch, STEP_ROW_BYTES, TensorError,
    kernels, wgpu,
};

/// Expressions that were compiled on a device, by their graph.
// Only looked up, never walked, so that no order comes from the hash.
pub(crate) type Cache = Mutex<HashMap<String, Arc<Compiled>>>;

/// An expression without memory: a buffer in here would keep its device alive for ever.
#[derive(Debug)]
pub(crate) struct Compiled {
    plan: Plan,
    launches: Vec<Launch>,
}

/// What to compute.
pub(super) struct Call<'a> {
    pub(super) inputs: &'a [&'a Tensor],
    /// The step row from [`step_row::OPTIMIZER`] on.
    pub(super) row: &'a [f32],
    /// The user's line; that of the op which is wrong, if the user wrote the expression.
    pub(super) location: Option<&'static Location<'static>>,
}

impl Call<'_> {
    /// Hands the expression to the device and returns its values.
    pub(super) fn run(
        &self,
        build: impl for<'g> FnOnce(&[Var<'g>]) -> Vec<Var<'g>>,
    ) -> Result<Vec<Tensor>, TensorError> {
        let device = self.device()?;
        let compiled = self.compiled(device, build)?;
        let plan = &compiled.plan;
        let memory = memory(device, plan)?;
        let kernels = plan.kernels.iter().zip(&compiled.launches);
        let dispatches = kernels.map(|(kernel, launch)| {
            launch.dispatch(device, plan, kernel, |role, binding| match role {
                Role::Upload => self.input(plan, kernel, binding),
                _ => {
                    let buffer = memory.get(role);
                    let buffer = buffer.ok_or_else(|| no_memory(&kernel.label, role))?;
                    buffer.range(binding.offset, binding.bytes)
                }
            })
        });
        let dispatches: Vec<Dispatch> = dispatches.collect::<Result<_, _>>()?;
        let row = match compiled.launches.iter().any(Launch::step_row) {
            true => Some(self.step_row(device)?),
            false => None,
        };
        if !dispatches.is_empty() {
            let mut commands = Commands::new(device, &plan.name)?;
            let mut pass = commands.pass(&plan.name);
            row.iter().for_each(|row| pass.set_step_row(row));
            dispatches
                .iter()
                .for_each(|dispatch| pass.dispatch(dispatch));
            drop(pass);
            commands.submit()?;
        }
        check_indices(plan, &memory)?;
        outputs(plan, &memory)
    }

    /// As [`Call::run`], for numbers of inputs and values that are known.
    pub(super) fn results<const N: usize, const M: usize>(
        &self,
        build: impl for<'g> FnOnce([Var<'g>; N]) -> [Var<'g>; M],
    ) -> Result<[Tensor; M], TensorError> {
        let values = self.run(|vars| match <[Var<'_>; N]>::try_from(vars) {
            Ok(vars) => build(vars).to_vec(),
            Err(_) => Vec::new(),
        })?;
        let found = values.len();
        <[Tensor; M]>::try_from(values)
            .map_err(|_| self.failed(format!("it has {found} values instead of {M}")))
    }

    fn failed(&self, message: impl Into<String>) -> TensorError {
        TensorError::Expression {
            op: "an expression".into(),
            location: self.location.unwrap_or(Location::caller()),
            message: message.into(),
        }
    }

    fn device(&self) -> Result<&Device, TensorError> {
        let Some((first, rest)) = self.inputs.split_first() else {
            return Err(self.failed("it has no tensors, so it is not known on which device"));
        };
        let device = first.device();
        match rest.iter().all(|tensor| tensor.device().is(device)) {
            true => Ok(device),
            false => Err(self.failed("its tensors lie on different devices")),
        }
    }

    fn compiled(
        &self,
        device: &Device,
        build: impl for<'g> FnOnce(&[Var<'g>]) -> Vec<Var<'g>>,
    ) -> Result<Arc<Compiled>, TensorError> {
        let graph = Graph::new();
        let inputs = self.inputs.iter().enumerate();
        let inputs = inputs.map(|(i, t)| graph.input(&i.to_string(), t.shape(), t.dtype()));
        let wanted = build(&inputs.collect::<Vec<_>>());
        graph.check().map_err(|error| self.refused(error))?;
        let ids: Vec<_> = wanted.iter().map(Var::id).collect();
        let key = format!("{:?} {ids:?}", graph.nodes());
        let cache = &device.inner().eager;
        if let Some(compiled) = lock(cache).get(&key) {
            return Ok(Arc::clone(compiled));
        }
        let names = (0..).map(|i: u32| i.to_string());
        let plan = lower(&Request {
            outputs: names.zip(wanted).collect(),
            ..Request::new("tensor", &graph, SlabLayout::default(), &device.target())
        });
        let plan = plan.map_err(|error| match error {
            PlanError::Build(error) => self.refused(error),
            other => self.failed(other.to_string()),
        })?;
        // Not under the lock: it takes long.
        let pick = |plan: &Plan, kernel: &Kernel| Ok(kernels::choose(plan, kernel));
        let launches =
            launches(device, &plan, false, &pick, &|_, _| {}).map_err(|(_, error)| error)?;
        let compiled = Arc::new(Compiled { plan, launches });
        Ok(Arc::clone(lock(cache).entry(key).or_insert(compiled)))
    }

    fn refused(&self, error: BuildError) -> TensorError {
        TensorError::Expression {
            op: error.op.into(),
            location: self.location.unwrap_or(error.location),
            message: error.message,
        }
    }

    /// The input that a binding is. In the plan all lie in one buffer, but every one is bound by
    /// itself, from its start, because nothing writes to that buffer.
    fn input(
        &self,
        plan: &Plan,
        kernel: &Kernel,
        binding: &Binding,
    ) -> Result<BufferRange, TensorError> {
        let starts_here = |input: &gradus_graph::plan::Input| {
            let value = plan.values.get(input.value.index());
            value.is_some_and(|v| v.offset == binding.offset && padded(v.meta) == binding.bytes)
        };
        let mut inputs = plan.inputs.iter().zip(self.inputs);
        let tensor = inputs.find_map(|(input, tensor)| starts_here(input).then_some(tensor));
        let tensor = tensor.ok_or_else(|| no_memory(&kernel.label, "an input"))?;
        tensor.buffer.range(tensor.offset, binding.bytes)
    }

    fn step_row(&self, device: &Device) -> Result<BindGroup, TensorError> {
        use wgpu::BufferUsages as Usage;
        let usage = Usage::UNIFORM | Usage::COPY_DST;
        let buffer = Buffer::new(device, "step row", STEP_ROW_BYTES, usage)?;
        let first = u64::from(step_row::OPTIMIZER) * WORD;
        buffer.write(first, bytemuck::cast_slice(self.row))?;
        BindGroup::step_row(device, &buffer, 0)
    }
}

/// New memory for everything but the inputs.
fn memory(device: &Device, plan: &Plan) -> Result<BTreeMap<Role, Buffer>, TensorError> {
    let mut memory = BTreeMap::new();
    for buffer in plan.buffers.iter().filter(|b| b.role != Role::Upload) {
        let label = format!("tensor/{}", buffer.role);
        memory.insert(
            buffer.role.clone(),
            Buffer::storage(device, &label, buffer.bytes)?,
        );
    }
    if let Some(literals) = memory.get(&Role::Literals) {
        for (value, array) in &plan.literals {
            if let Some(value) = plan.values.get(value.index()) {
                literals.write(value.offset, bytemuck::cast_slice(&array.to_words()))?;
            }
        }
    }
    Ok(memory)
}

fn check_indices(plan: &Plan, memory: &BTreeMap<Role, Buffer>) -> Result<(), TensorError> {
    let Some(errors) = memory.get(&Role::Errors) else {
        return Ok(());
    };
    let words: Vec<u32> = bytemuck::pod_collect_to_vec(&errors.read()?);
    let mut bad = plan.sites.iter().zip(words).filter(|(_, bits)| *bits != 0);
    bad.next().map_or(Ok(()), |(site, bits)| {
        Err(TensorError::BadIndex {
            value: bits.cast_signed().into(),
            bound: site.bound,
        })
    })
}

fn outputs(plan: &Plan, memory: &BTreeMap<Role, Buffer>) -> Result<Vec<Tensor>, TensorError> {
    let output = |(_, v): &(String, gradus_graph::plan::ValueId)| {
        let place = plan.values.get(v.index()).zip(memory.get(&Role::Outputs));
        let (value, buffer) = place.ok_or_else(|| no_memory(&plan.name, "an output"))?;
        Ok(Tensor {
            meta: value.meta,
            buffer: buffer.clone(),
            offset: value.offset,
        })
    };
    plan.outputs.iter().map(output).collect()
}
