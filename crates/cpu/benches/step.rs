//! `cargo bench -p gradus-cpu`: how long a training step of an MLP takes on this processor, whole
//! and kernel by kernel.
//!
//! ```text
//! cargo bench -p gradus-cpu -- [widths [batch]]        784,128,64,10 64
//! ```
//!
//! Times are the least and the median of many runs alone, where a kernel finds its operands in the
//! cache, and the median within whole steps, in microseconds.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gradus_cpu::CpuRuntime;
use gradus_graph::backend::{ModelMemory, ProgramId, Runtime, StepRow};
use gradus_graph::philox::Rng;
use gradus_graph::plan::{Request, Role, SlabLayout, lower};
use gradus_graph::{At, DType, Graph, Layer, Optimizer, Plan, Scope, Target, grad, step_row};
use gradus_nn::{Adam, CrossEntropy, Loss, Sequential};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let widths = words.next().unwrap_or_else(|| "784,128,64,10".into());
    let widths = widths
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<usize>, _>>()?;
    let batch = words.next().map_or(Ok(64), |w| w.parse())?;

    let plan = plan(&widths, batch)?;
    let memory = ModelMemory {
        slabs: plan.slabs.clone(),
        optimizer_states: 2,
        state_bytes: 0,
    };
    let mut runtime = CpuRuntime::new(memory);
    println!("{}", runtime.describe());
    let mut rng = Rng::new(1, 1);
    let mut noise = |n: u64| -> Vec<u32> {
        (0..n)
            .map(|_| (rng.uniform() as f32 * 0.1 - 0.05).to_bits())
            .collect()
    };
    for (shard, len) in plan.slabs.shards.iter().enumerate() {
        runtime.write(&Role::Params(shard), 0, &noise(*len))?;
    }
    let upload = plan
        .buffers
        .iter()
        .find(|b| b.role == Role::Upload)
        .map_or(0, |b| b.bytes / 4);
    let mut upload = noise(upload);
    let labels = batch * widths.first().copied().unwrap_or(0);
    (0..)
        .zip(upload.iter_mut().skip(labels))
        .for_each(|(i, w)| *w = i % 2);

    let mut row: StepRow = [0; step_row::WORDS];
    let words = Adam::new(1e-3).words(&At::step(0));
    let start = step_row::OPTIMIZER as usize;
    row.iter_mut()
        .skip(start)
        .zip(words)
        .for_each(|(w, v)| *w = v.to_bits());

    let whole = runtime.compile(Arc::new(plan.clone()))?;
    let (least, median) = time(&mut runtime, whole, &row, &upload)?;
    println!(
        "{least:>9.1} {median:>9.1}            whole step, {:.0} steps/s",
        1e6 / median
    );
    let within = within(&mut runtime, whole, &row, &upload)?;
    let mut sum = 0.0;
    for (line, (kernel, within)) in plan.kernels.iter().zip(within).enumerate() {
        let alone = Plan {
            kernels: vec![kernel.clone()],
            literals: Vec::new(),
            ..plan.clone()
        };
        let program = runtime.compile(Arc::new(alone))?;
        let (least, median) = time(&mut runtime, program, &row, &[])?;
        sum += median;
        let rate = kernel.flops as f64 / least / 1e3;
        println!(
            "{least:>9.1} {median:>9.1} {within:>9.1}  {line:>2} {} · {rate:.1} GFLOP/s",
            kernel.label
        );
    }
    println!("{:>9} {sum:>9.1}            all alone", "");
    Ok(())
}

/// Microseconds of each kernel within a step: the medians.
fn within(
    runtime: &mut CpuRuntime,
    program: ProgramId,
    row: &StepRow,
    upload: &[u32],
) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut times: Vec<Vec<f64>> = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(500) || times.is_empty() {
        let (_, timeline) = runtime.profile(program, row, upload)?;
        times.resize_with(timeline.kernels.len(), Vec::new);
        for (times, kernel) in times.iter_mut().zip(timeline.kernels) {
            times.push(kernel.span.seconds() * 1e6);
        }
    }
    Ok(times.into_iter().map(median).collect())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Microseconds of one step: the least and the median.
fn time(
    runtime: &mut CpuRuntime,
    program: ProgramId,
    row: &StepRow,
    upload: &[u32],
) -> Result<(f64, f64), Box<dyn Error>> {
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(300) || times.len() < 20 {
        let start = Instant::now();
        let ticket = runtime.submit(program, &[*row], upload)?;
        runtime.wait(ticket)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    Ok((least, median(times)))
}

/// The plan of a classifier of dense layers with relu between, cross-entropy and Adam.
fn plan(widths: &[usize], batch: usize) -> Result<Plan, Box<dyn Error>> {
    let [inputs, hidden @ .., classes] = widths else {
        return Err("an MLP has at least two widths".into());
    };
    let net = hidden
        .iter()
        .fold(Sequential::new(), |net, w| net.dense(*w).relu());
    let net = net.dense(*classes);
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let x = graph.input("x", [batch, *inputs], DType::F32);
    let y = graph.input("y", [batch], DType::I32);
    let logits = net.forward(&scope, x);
    let loss = CrossEntropy::new().forward(&scope, logits, y);
    Ok(lower(&Request {
        readbacks: vec![("loss".into(), loss)],
        gradients: grad(loss, &graph.param_vars())
            .into_iter()
            .map(Some)
            .collect(),
        optimizer: Some(&Adam::new(1e-3)),
        ..Request::new(
            "train",
            &graph,
            SlabLayout::new(&graph.params(), &Target::cpu())?,
            &Target::cpu(),
        )
    })?)
}
