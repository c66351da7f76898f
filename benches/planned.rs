//! A plan of one square product, run again and again. `benches/peers` runs it too.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, Result};
use gradus::graph::backend::{ModelMemory, ProgramId, Runtime};
use gradus::graph::plan::{Request, Role, SlabLayout, lower};
use gradus::graph::{Graph, Plan, Scope, Target, step_row};
use gradus::nn::init::Zeros;
use gradus::train::Device;

/// Products in one submit, and submits under way.
const IN_SUBMIT: usize = 8;
const IN_FLIGHT: usize = 3;

/// `c = a · b` on a device.
pub(crate) struct Product {
    runtime: Box<dyn Runtime>,
    program: ProgramId,
    plan: Arc<Plan>,
}

impl Product {
    /// Prepares the product of two `[n, n]`.
    pub(crate) fn new(device: &Device, n: usize, factors: &[Vec<f32>; 2]) -> Result<Self> {
        let (plan, slabs) = plan(n, &device.target())?;
        let plan = Arc::new(plan);
        let memory = ModelMemory {
            slabs: slabs.clone(),
            ..ModelMemory::default()
        };
        let mut runtime = device.runtime(memory)?;
        let program = runtime.compile(Arc::clone(&plan))?;
        for (segment, values) in slabs.segments.iter().zip(factors) {
            let words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
            runtime.write(&Role::Params(segment.shard), segment.offset, &words)?;
        }
        Ok(Self {
            runtime,
            program,
            plan,
        })
    }

    pub(crate) fn run(&mut self, times: usize) -> Result<()> {
        let row = [0; step_row::WORDS];
        let mut tickets = VecDeque::new();
        let mut left = times;
        while left > 0 {
            let count = left.min(IN_SUBMIT);
            if tickets.len() == IN_FLIGHT
                && let Some(oldest) = tickets.pop_front()
            {
                self.runtime.wait(oldest)?;
            }
            tickets.push_back(self.runtime.submit(self.program, &vec![row; count], &[])?);
            left -= count;
        }
        for ticket in tickets {
            self.runtime.wait(ticket)?;
        }
        Ok(())
    }

    /// `c`, once it has been computed.
    pub(crate) fn result(&mut self) -> Result<Vec<f32>> {
        let output = self.plan.outputs.first();
        let value = output.and_then(|(_, value)| self.plan.values.get(value.index()));
        let value = value.context("the plan has no output")?;
        let (first, count) = (value.offset / 4, value.meta.shape.numel() as u64);
        let role = Role::Outputs;
        let words = self.runtime.read(self.program, &role, first, count)?;
        Ok(words.into_iter().map(f32::from_bits).collect())
    }
}

/// Both factors lie where parameters lie, so that nothing is uploaded.
fn plan(n: usize, target: &Target) -> Result<(Plan, SlabLayout)> {
    let graph = Graph::new();
    let scope = Scope::root(&graph, false);
    let (a, b) = (
        scope.param("a", [n, n], Zeros),
        scope.param("b", [n, n], Zeros),
    );
    let slabs = SlabLayout::new(&graph.params(), target)?;
    let plan = lower(&Request {
        name: "matmul",
        graph: &graph,
        outputs: vec![("c".into(), a.matmul(b))],
        readbacks: vec![],
        gradients: vec![],
        optimizer: None,
        clip_norm: None,
        resident: None,
        slabs: slabs.clone(),
        target,
    })?;
    Ok((plan, slabs))
}
