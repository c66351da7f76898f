//! Training plans of multi-layer perceptrons, with data, and a runtime to run them.
#![allow(dead_code, reason = "each user takes what it needs")]

use std::sync::Arc;

use anyhow::{Context, Result};
use gradus_graph::backend::{ModelMemory, ProgramId, Runtime, StepRow};
use gradus_graph::philox::Rng;
use gradus_graph::plan::{Plan, Request, Role, SlabLayout, ValueId, lower};
use gradus_graph::{At, DType, Graph, Init, Optimizer, Rate, Scope, Shape, Target, Update, Var};
use gradus_graph::{grad, step_row};
use gradus_tensor::{Device, GpuRuntime};

/// What to train.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    pub(crate) widths: Vec<usize>,
    pub(crate) batch: usize,
    pub(crate) dropout: f64,
    pub(crate) clip: Option<f64>,
    pub(crate) resident: Option<usize>,
}

impl Mlp {
    pub(crate) fn new(widths: &[usize], batch: usize) -> Self {
        Self {
            widths: widths.to_vec(),
            batch,
            dropout: 0.0,
            clip: None,
            resident: None,
        }
    }

    fn inputs(&self) -> usize {
        self.widths.first().copied().unwrap_or(1)
    }

    fn classes(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
    }

    pub(crate) fn plan(&self, target: &Target) -> Result<Arc<Plan>> {
        let graph = Graph::new();
        let scope = Scope::root(&graph, true);
        let x = graph.input("x", [self.batch, self.inputs()], DType::F32);
        let y = graph.input("y", [self.batch], DType::I32);
        let mut h = x;
        let layers = self.widths.len() - 1;
        for (i, pair) in self.widths.windows(2).enumerate() {
            let &[inputs, outputs] = pair else { continue };
            let layer = scope.child(&i.to_string());
            let w = layer.param("weight", [outputs, inputs], Zeros);
            let b = layer.param("bias", [outputs], Zeros);
            h = h.matmul(w.transpose()) + b;
            if i + 1 < layers {
                h = layer.dropout(h.relu(), self.dropout);
            }
        }
        let loss = h.cross_entropy(y).mean_all();
        let correct = h.argmax(-1).eq(y).cast(DType::F32).mean_all();
        let gradients = grad(loss, &graph.param_vars());
        let plan = lower(&Request {
            outputs: vec![("logits".into(), h)],
            readbacks: vec![("loss".into(), loss), ("accuracy".into(), correct)],
            gradients: gradients.into_iter().map(Some).collect(),
            optimizer: Some(&Adam),
            clip_norm: self.clip,
            resident: self.resident,
            ..Request::new(
                "train",
                &graph,
                SlabLayout::new(&graph.params(), target)?,
                target,
            )
        })?;
        plan.check()?;
        Ok(Arc::new(plan))
    }

    /// Samples: features in [-1, 1], and labels that depend on them.
    pub(crate) fn samples(&self, count: usize) -> (Vec<u32>, Vec<u32>) {
        let mut rng = Rng::new(3, 0);
        let (inputs, classes) = (self.inputs(), self.classes() as u32);
        let mut features = Vec::new();
        let mut labels = Vec::new();
        for _ in 0..count {
            let label = rng.below(classes);
            labels.push(label);
            for i in 0..inputs {
                let bump = if i as u32 % classes == label {
                    0.5
                } else {
                    0.0
                };
                features.push((rng.uniform() as f32 - 0.5 + bump).to_bits());
            }
        }
        (features, labels)
    }

    /// A batch as the plan's upload; empty for a resident data set.
    pub(crate) fn upload(&self, plan: &Plan) -> Result<Vec<u32>> {
        if self.resident.is_some() {
            return Ok(Vec::new());
        }
        let (x, y) = self.samples(self.batch);
        let mut words = vec![0; words_of(plan, &Role::Upload)];
        for (input, data) in plan.inputs.iter().zip([x, y]) {
            let start = value(plan, input.value)?.offset as usize / 4;
            let place = words.get_mut(start..start + data.len());
            place
                .context("an input outside the upload")?
                .copy_from_slice(&data);
        }
        Ok(words)
    }
}

/// The value of a plan.
pub(crate) fn value(plan: &Plan, v: ValueId) -> Result<&gradus_graph::plan::Value> {
    plan.values.get(v.index()).context("no such value")
}

/// Words of a role's buffer.
pub(crate) fn words_of(plan: &Plan, role: &Role) -> usize {
    let buffer = plan.buffers.iter().find(|b| b.role == *role);
    buffer.map_or(0, |b| b.bytes as usize / 4)
}

/// A model on a device.
pub(crate) struct Model {
    pub(crate) runtime: GpuRuntime,
    pub(crate) plan: Arc<Plan>,
    pub(crate) program: ProgramId,
    pub(crate) upload: Vec<u32>,
}

impl Model {
    /// Compiles the plan, and fills parameters and resident data.
    pub(crate) fn new(device: &Device, mlp: &Mlp) -> Result<Self> {
        let plan = mlp.plan(&device.target())?;
        let runtime = GpuRuntime::new(device.clone(), memory(&plan))?;
        Self::on(runtime, plan, mlp)
    }

    /// The same, with kernels that test every index and loop.
    pub(crate) fn checked(device: &Device, mlp: &Mlp) -> Result<Self> {
        let plan = mlp.plan(&device.target())?;
        let mut runtime = GpuRuntime::new(device.clone(), memory(&plan))?;
        runtime.set_checked(true);
        Self::on(runtime, plan, mlp)
    }

    fn on(mut runtime: GpuRuntime, plan: Arc<Plan>, mlp: &Mlp) -> Result<Self> {
        let program = runtime.compile(Arc::clone(&plan))?;
        fill(&mut runtime, &plan)?;
        if let Some(samples) = mlp.resident {
            let (x, y) = mlp.samples(samples);
            runtime.write(&Role::Resident(0), 0, &x)?;
            runtime.write(&Role::Resident(1), 0, &y)?;
            let order: Vec<u32> = (0..samples as u32).rev().collect();
            runtime.write(&Role::Order, 0, &order)?;
        }
        let upload = mlp.upload(&plan)?;
        Ok(Self {
            runtime,
            plan,
            program,
            upload,
        })
    }

    /// Runs these steps in one submit; the losses.
    pub(crate) fn steps(&mut self, rows: &[StepRow]) -> Result<Vec<f64>> {
        let ticket = self.runtime.submit(self.program, rows, &self.upload)?;
        let report = self.runtime.wait(ticket)?;
        report.rows.iter().map(|row| self.loss(row)).collect()
    }

    pub(crate) fn loss(&self, row: &[f32]) -> Result<f64> {
        let loss = self.plan.readbacks.first().context("no loss")?;
        let value = value(&self.plan, loss.value)?;
        let start = value.offset as usize / 4;
        let vector = row.get(start..start + value.meta.shape.numel());
        let sum: f64 = vector
            .context("a short row")?
            .iter()
            .map(|&x| f64::from(x))
            .sum();
        Ok(sum * loss.scale)
    }

    /// All parameters, gradients and states.
    pub(crate) fn slabs(&mut self) -> Result<Vec<u32>> {
        let roles = [
            Role::Params(0),
            Role::Grads(0),
            Role::OptimizerState(0, 0),
            Role::OptimizerState(1, 0),
        ];
        let mut all = Vec::new();
        for role in roles {
            let count = words_of(&self.plan, &role) as u64;
            all.extend(self.runtime.read(self.program, &role, 0, count)?);
        }
        Ok(all)
    }
}

/// The memory that a plan's model needs.
pub(crate) fn memory(plan: &Plan) -> ModelMemory {
    ModelMemory {
        slabs: plan.slabs.clone(),
        optimizer_states: 2,
        state_bytes: words_of(plan, &Role::States) as u64 * 4,
    }
}

/// Parameters as a common initializer would make them; padding stays 0.
pub(crate) fn fill(runtime: &mut GpuRuntime, plan: &Plan) -> Result<()> {
    let mut rng = Rng::new(11, 0);
    for segment in &plan.slabs.segments {
        let mut value = || ((rng.uniform() as f32 - 0.5) * 0.2).to_bits();
        let words: Vec<u32> = (0..segment.len).map(|_| value()).collect();
        runtime.write(&Role::Params(segment.shard), segment.offset, &words)?;
    }
    Ok(())
}

/// The row of a step. The ring word is the runtime's to fill in.
pub(crate) fn row(step: u32) -> StepRow {
    let mut row = [0; step_row::WORDS];
    row[step_row::STEP as usize] = step;
    row[step_row::SEED_LOW as usize] = 7;
    row[step_row::RING as usize] = u32::MAX;
    row[step_row::BATCH as usize] = 0;
    row[step_row::OPTIMIZER as usize] = 1e-3f32.to_bits();
    row
}

#[derive(Debug)]
struct Zeros;

impl Init for Zeros {
    fn sample(&self, shape: &Shape, _: &mut Rng) -> Vec<f32> {
        vec![0.0; shape.numel()]
    }
}

#[derive(Debug)]
struct Adam;

impl Optimizer for Adam {
    fn states(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: 1.0,

            momentum: 0.0,
        }
    }

    fn row(&self, _: u32, _: Rate) -> Vec<f32> {
        vec![1e-3]
    }

    fn update<'g>(&self, p: Var<'g>, g: Var<'g>, s: &[Var<'g>]) -> Update<'g> {
        let rate = p.graph().step_word(step_row::OPTIMIZER);
        let m = s[0] * 0.9 + g * 0.1;
        let v = s[1] * 0.999 + g * g * 0.001;
        Update {
            param: p - rate * m / (v.sqrt() + 1e-8),
            states: vec![m, v],
        }
    }
}
