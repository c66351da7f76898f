//! Plans over arrays that lie on the device, run again and again. `benches/peers` runs them too.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, Result};
use gradus::graph::backend::{ModelMemory, ProgramId, Runtime, StepRow};
use gradus::graph::plan::{Request, Role, SlabLayout, lower};
use gradus::graph::{Graph, Plan, Scope, Var, step_row};
use gradus::train::Device;

/// Runs in one submit, and submits under way.
const IN_SUBMIT: usize = 8;
const IN_FLIGHT: usize = 3;

/// Plans on a device, one after the other in each run.
pub(crate) struct Planned {
    runtime: Box<dyn Runtime>,
    programs: Vec<(ProgramId, Arc<Plan>)>,
    /// What every run is told.
    pub(crate) row: StepRow,
}

impl Planned {
    /// One expression. Its arrays are parameters, in order, so that nothing is uploaded.
    pub(crate) fn new(
        device: &Device,
        arrays: &[Vec<f32>],
        build: impl for<'g> Fn(&Scope<'g>) -> Var<'g>,
    ) -> Result<Self> {
        Self::several(device, arrays, 1, |scope, _| build(scope))
    }

    /// Numbered expressions, a plan for each, over the same arrays.
    pub(crate) fn several(
        device: &Device,
        arrays: &[Vec<f32>],
        count: usize,
        build: impl for<'g> Fn(&Scope<'g>, usize) -> Var<'g>,
    ) -> Result<Self> {
        let (target, mut memory) = (device.target(), ModelMemory::default());
        let mut plans = Vec::new();
        for number in 0..count {
            let graph = Graph::new();
            let result = build(&Scope::root(&graph, false), number);
            memory.slabs = SlabLayout::new(&graph.params(), &target)?;
            plans.push(lower(&Request {
                outputs: vec![("result".into(), result)],
                ..Request::new("bench", &graph, memory.slabs.clone(), &target)
            })?);
        }
        let segments = memory.slabs.segments.clone();
        let mut planned = Self::prepare(device, memory, plans)?;
        for (segment, array) in segments.iter().zip(arrays) {
            planned.write(&Role::Params(segment.shard), segment.offset, array)?;
        }
        Ok(planned)
    }

    /// Plans that share this memory.
    pub(crate) fn prepare(device: &Device, memory: ModelMemory, plans: Vec<Plan>) -> Result<Self> {
        let mut runtime = device.runtime(memory)?;
        let mut programs = Vec::new();
        for plan in plans {
            let plan = Arc::new(plan);
            programs.push((runtime.compile(Arc::clone(&plan))?, plan));
        }
        Ok(Self {
            runtime,
            programs,
            row: [0; step_row::WORDS],
        })
    }

    pub(crate) fn run(&mut self, times: usize) -> Result<()> {
        // What one plan does again and again shares submits; several take turns.
        let in_submit = if self.programs.len() == 1 {
            IN_SUBMIT
        } else {
            1
        };
        let mut tickets = VecDeque::new();
        let mut left = times;
        while left > 0 {
            let rows = vec![self.row; left.min(in_submit)];
            for &(program, _) in &self.programs {
                if tickets.len() == IN_FLIGHT
                    && let Some(oldest) = tickets.pop_front()
                {
                    self.runtime.wait(oldest)?;
                }
                tickets.push_back(self.runtime.submit(program, &rows, &[])?);
            }
            left -= rows.len();
        }
        for ticket in tickets {
            self.runtime.wait(ticket)?;
        }
        Ok(())
    }

    /// The result of a plan's last run.
    pub(crate) fn result(&mut self, number: usize) -> Result<Vec<f32>> {
        let (_, plan) = self.programs.get(number).context("no such plan")?;
        let output = plan.outputs.first();
        let value = output.and_then(|(_, value)| plan.values.get(value.index()));
        let value = value.context("the plan has no output")?;
        let (first, count) = (value.offset / 4, value.meta.shape.numel());
        self.read(number, &Role::Outputs, first, count)
    }

    pub(crate) fn write(&mut self, role: &Role, first: u64, values: &[f32]) -> Result<()> {
        let words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        Ok(self.runtime.write(role, first, &words)?)
    }

    /// What a plan's buffer holds.
    pub(crate) fn read(
        &mut self,
        number: usize,
        role: &Role,
        first: u64,
        count: usize,
    ) -> Result<Vec<f32>> {
        let (program, _) = self.programs.get(number).context("no such plan")?;
        let words = self.runtime.read(*program, role, first, count as u64)?;
        Ok(words.into_iter().map(f32::from_bits).collect())
    }
}
