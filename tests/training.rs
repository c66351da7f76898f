//! Whole training runs: the executor and the GPU against the oracle, and against themselves.
#![allow(clippy::unwrap_used, reason = "a broken test may end in a panic")]

use std::process::Command;
use std::sync::Arc;

use gradus::graph::philox::{Rng, stream};
use gradus::graph::plan::{Plan, Request, Role, SlabLayout, lower};
use gradus::graph::{Array, Graph, Scope, Var, grad, step_row};
use gradus::prelude::*;
use gradus_cpu::oracle::{Tensor, Trainer};
use gradus_graph::backend::{ModelMemory, StepRow};
use gradus_graph::{At, DType, Layer, Optimizer, Target};
use libtest_mimic::{Arguments, Failed, Trial};
use support::gpu::Gpu;

mod support;

const STEPS: usize = 50;
const SEED: u64 = 7;

/// Batches that are fed in turn.
const BATCHES: usize = 5;

#[derive(Clone)]
struct Run {
    name: &'static str,
    widths: Vec<usize>,
    batch: usize,
    dropout: f64,
    clip: Option<f64>,
    storage: Storage,
    /// The largest relative difference from the oracle's loss. Where a value lies between two
    /// bfloat16, the device and the oracle may round to different ones.
    allowed: f64,
}

fn runs() -> Vec<Run> {
    let run = |name, widths: &[usize], batch| Run {
        name,
        widths: widths.to_vec(),
        batch,
        dropout: 0.0,
        clip: None,
        storage: Storage::F32,
        allowed: 1e-4,
    };
    vec![
        run("784-128-10", &[784, 128, 10], 64),
        Run {
            dropout: 0.2,
            ..run("784-128-10 dropout", &[784, 128, 10], 64)
        },
        Run {
            clip: Some(0.5),
            ..run("33-7-10 clipped", &[33, 7, 10], 13)
        },
        Run {
            dropout: 0.5,
            ..run("257-65-31-10 dropout", &[257, 65, 31, 10], 1)
        },
        run("7-1-257-10", &[7, 1, 257, 10], 67),
        Run {
            dropout: 0.2,
            storage: Storage::Bf16,
            allowed: 1e-3,
            ..run("33-65-31-10 bf16", &[33, 65, 31, 10], 64)
        },
    ]
}

impl Run {
    fn net(&self) -> Sequential {
        let hidden = &self.widths[1..self.widths.len() - 1];
        let net = hidden.iter().fold(Sequential::new(), |net, &w| {
            net.dense(w).relu().dropout(self.dropout)
        });
        net.dense(self.widths[self.widths.len() - 1])
    }

    /// The loss and its gradients.
    fn traced<'g>(&self, graph: &'g Graph) -> (Var<'g>, Vec<Var<'g>>) {
        let loss = self.loss(graph);
        let forward = graph.node_count();
        let gradients = grad(loss, &graph.param_vars());
        if self.storage == Storage::F32 {
            return (loss, gradients);
        }
        let now = graph.round_saved(forward, &gradients);
        (now(loss), gradients.into_iter().map(&now).collect())
    }

    fn loss<'g>(&self, graph: &'g Graph) -> Var<'g> {
        let x = graph.input("x", [self.batch, self.widths[0]], DType::F32);
        let y = graph.input("y", [self.batch], DType::I32);
        let logits = self.net().forward(&Scope::root(graph, true), x);
        logits.cross_entropy(y).mean_all()
    }

    fn batches(&self) -> Vec<[Array; 2]> {
        let mut rng = Rng::new(SEED, stream("batches", 0));
        let classes = u32::try_from(self.widths[self.widths.len() - 1]).unwrap();
        let mut batch = || {
            let n = self.batch * self.widths[0];
            let x: Vec<f32> = (0..n).map(|_| rng.uniform() as f32).collect();
            let y: Vec<i32> = (0..self.batch)
                .map(|_| rng.below(classes).cast_signed())
                .collect();
            [
                Array::new([self.batch, self.widths[0]], x).unwrap(),
                Array::new([self.batch], y).unwrap(),
            ]
        };
        (0..BATCHES).map(|_| batch()).collect()
    }

    fn initial(&self, graph: &Graph) -> Vec<Array> {
        let sample = |p: &gradus_graph::ParamInfo| {
            let mut rng = Rng::new(SEED, stream(&p.name, 0));
            Array::new(p.shape, p.init.sample(&p.shape, &mut rng)).unwrap()
        };
        graph.params().iter().map(sample).collect()
    }

    /// The losses of the oracle in f64.
    fn reference(&self) -> Vec<f64> {
        let graph = Graph::new();
        let (loss, gradients) = self.traced(&graph);
        let params = self
            .initial(&graph)
            .iter()
            .map(Tensor::from_array)
            .collect();
        let adam = Arc::new(Adam::new(1e-3));
        let mut trainer =
            Trainer::<f64>::new(&graph, loss, &gradients, params, adam, SEED).unwrap();
        if let Some(limit) = self.clip {
            trainer = trainer.clip_norm(limit);
        }
        let batches = self.batches();
        (0..STEPS)
            .map(|step| {
                let inputs = batches[step % BATCHES]
                    .iter()
                    .map(Tensor::from_array)
                    .collect();
                trainer.step(inputs, &[]).unwrap().loss
            })
            .collect()
    }

    fn plan(&self, target: &Target) -> Plan {
        let graph = Graph::new();
        let (loss, gradients) = self.traced(&graph);
        let plan = lower(&Request {
            readbacks: vec![("loss".into(), loss)],
            gradients: gradients.into_iter().map(Some).collect(),
            optimizer: Some(&Adam::new(1e-3)),
            clip_norm: self.clip,
            ..Request::new(
                "train",
                &graph,
                SlabLayout::new(&graph.params(), target).unwrap(),
                target,
            )
        })
        .unwrap();
        plan.check().unwrap();
        plan
    }

    /// The losses on a device.
    fn losses(&self, device: &Device) -> Result<Vec<f64>, Failed> {
        let plan = Arc::new(self.plan(&device.target()));
        let mut runtime = device.runtime(ModelMemory {
            slabs: plan.slabs.clone(),
            optimizer_states: 2,
            state_bytes: 0,
        })?;
        let program = runtime.compile(Arc::clone(&plan))?;
        let graph = Graph::new();
        self.loss(&graph);
        for (segment, array) in plan.slabs.segments.iter().zip(self.initial(&graph)) {
            runtime.write(
                &Role::Params(segment.shard),
                segment.offset,
                &array.to_words(),
            )?;
        }
        let bytes = plan
            .buffers
            .iter()
            .find(|b| b.role == Role::Upload)
            .unwrap()
            .bytes;
        let mut losses = Vec::new();
        let batches = self.batches();
        for step in 0..STEPS {
            let mut upload = vec![0u32; bytes as usize / 4];
            for (input, array) in plan.inputs.iter().zip(&batches[step % BATCHES]) {
                let first = plan.values[input.value.index()].offset as usize / 4;
                let words = array.to_words();
                upload[first..first + words.len()].copy_from_slice(&words);
            }
            let ticket = runtime.submit(program, &[row(step)], &upload)?;
            let report = runtime.wait(ticket)?;
            assert!(report.errors.iter().all(|&e| e == 0));
            let readback = &plan.readbacks[0];
            let value = &plan.values[readback.value.index()];
            let first = value.offset as usize / 4;
            let terms = &report.rows[0][first..first + value.meta.shape.numel()];
            losses.push(readback.scale * terms.iter().map(|&t| f64::from(t)).sum::<f64>());
        }
        Ok(losses)
    }

    fn compare(&self, device: &Device) -> Result<(), Failed> {
        let (found, want) = (self.losses(device)?, self.reference());
        for (step, (f, w)) in found.iter().zip(&want).enumerate() {
            if (f - w).abs() > self.allowed * w.abs() {
                return Err(format!("step {step}: loss {f}, oracle {w}").into());
            }
        }
        Ok(())
    }
}

fn row(step: usize) -> StepRow {
    let step = u32::try_from(step).unwrap();
    let mut row = [0; step_row::WORDS];
    row[step_row::STEP as usize] = step;
    row[step_row::SEED_LOW as usize] = SEED as u32;
    row[step_row::SEED_HIGH as usize] = (SEED >> 32) as u32;
    for (word, value) in row[step_row::OPTIMIZER as usize..]
        .iter_mut()
        .zip(Adam::new(1e-3).words(&At::step(step)))
    {
        *word = value.to_bits();
    }
    row
}

/// Trains 100 steps with dropout and shuffling, and gives the digest.
fn digest(device: &Device, seed: u64) -> anyhow::Result<String> {
    let data = datasets::digits().take(320)?;
    let net = Sequential::new().dense(96).relu().dropout(0.3).dense(10);
    let mut model = net.compile(
        Compile::for_data(&data)
            .device(device.clone())
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(3e-3))
            .batch(32)
            .seed(seed),
    )?;
    model.fit(&data, Fit::epochs(10).quiet())?;
    assert_eq!(model.steps(), 100);
    Ok(model.digest()?.to_string())
}

/// The digest that another process with this many threads finds.
fn digest_elsewhere(device: &str, threads: &str) -> Result<String, Failed> {
    let output = Command::new(std::env::current_exe()?)
        .env(CHILD, device)
        .env("RAYON_NUM_THREADS", threads)
        .env("LP_NUM_THREADS", if threads == "1" { "0" } else { threads })
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let found = text.lines().find_map(|l| l.strip_prefix("digest "));
    found.map(str::to_string).ok_or_else(|| {
        format!(
            "no digest: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into()
    })
}

/// Set in processes that are to print a digest: the device.
const CHILD: &str = "TEST_TRAINING_CHILD";

fn repeatable(device: &Device, name: &str) -> Result<(), Failed> {
    let here = digest(device, SEED)?;
    for threads in ["1", "2"] {
        let there = digest_elsewhere(name, threads)?;
        if here != there {
            return Err(format!("{here} here, {there} with {threads} threads").into());
        }
    }
    if here == digest(device, SEED + 1)? {
        return Err("another seed gives the same digest".into());
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    if let Ok(device) = std::env::var(CHILD) {
        let device = if device == "cpu" {
            Device::cpu()
        } else {
            Device::named(&device)?
        };
        #[allow(clippy::print_stdout, reason = "the other process reads it")]
        {
            println!("digest {}", digest(&device, SEED)?);
        }
        return Ok(());
    }
    let gpu = Gpu::from_env();
    let mut trials = Vec::new();
    for run in runs() {
        let (on_cpu, on_gpu) = (run.clone(), run.clone());
        trials.push(Trial::test(format!("{}/cpu", run.name), move || {
            on_cpu.compare(&Device::cpu())
        }));
        trials.push(gpu.trial(format!("{}/gpu", run.name), move |device| {
            on_gpu.compare(device)
        }));
    }
    trials.push(Trial::test("digest/cpu", || {
        repeatable(&Device::cpu(), "cpu")
    }));
    trials.push(gpu.trial("digest/gpu", |device| {
        let name = device.to_string();
        let adapter = if name.to_lowercase().contains("llvmpipe") {
            "llvmpipe"
        } else {
            "gpu"
        };
        repeatable(device, adapter)
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
