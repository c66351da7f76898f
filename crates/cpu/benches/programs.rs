//! `cargo bench -p gradus-cpu --bench programs`: programs of every kind, in nanoseconds for each
//! element that they read, the least of many runs.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gradus_cpu::CpuRuntime;
use gradus_graph::backend::{ModelMemory, Runtime};
use gradus_graph::philox::Rng;
use gradus_graph::plan::{Request, Role, SlabLayout, lower};
use gradus_graph::{DType, Graph, Target, Var, step_row};

fn main() -> Result<(), Box<dyn Error>> {
    let flat = [256, 256];
    bench("negate", &flat, |x, _| -x)?;
    bench("negate 400 thousand", &[400_000], |x, _| -x)?;
    bench("negate 8 million", &[8_000_000], |x, _| -x)?;
    bench("exp", &flat, |x, _| x.exp())?;
    bench("log", &flat, |x, _| x.log())?;
    bench("tanh", &flat, |x, _| x.tanh())?;
    bench("sigmoid", &flat, |x, _| x.sigmoid())?;
    bench("erf", &flat, |x, _| x.erf())?;
    bench("sin", &flat, |x, _| x.sin())?;
    bench("sqrt", &flat, |x, _| x.sqrt())?;
    bench("divide", &flat, |x, _| x / (x + 1.0))?;
    bench("power", &flat, |x, _| x.pow(2.5))?;
    bench("x⁸ as 8 products", &flat, |x, _| {
        x * x * x * x * x * x * x * x * x
    })?;
    bench("dropout", &flat, |x, g| {
        let bits = g.random(x.shape(), 7) >> 8u32;
        let keep = bits.cast(DType::F32).ge(0.1 * f64::from(1u32 << 24));
        keep.select(x * 1.1, 0.0)
    })?;
    bench("add a row", &[1024, 64], |x, _| x + x.slice_axis(0, 0, 1))?;
    bench("add a short row", &[8192, 8], |x, _| {
        x + x.slice_axis(0, 0, 1)
    })?;
    bench("add a column", &[1024, 64], |x, _| {
        x + x.slice_axis(1, 0, 1)
    })?;
    bench("transpose", &flat, |x, _| x.transpose())?;
    bench("transpose a large one", &[2048, 2048], |x, _| x.transpose())?;
    bench("swap heads", &[4, 128, 8, 32], |x, _| {
        x.permute(&[0, 2, 1, 3])
    })?;
    bench("pad", &flat, |x, _| x.pad(&[1, 1], &[1, 1], 0.0))?;
    bench("concat", &flat, |x, _| x.concat(&[x * 2.0], 1))?;
    bench("sum of all", &[1, 65536], |x, _| x.sum_all())?;
    bench("sum of many", &[1024, 2048], |x, _| x.sum_all())?;
    bench("sums of rows", &[1024, 64], |x, _| x.sum(&[1]))?;
    bench("sums of short rows", &[8192, 8], |x, _| x.sum(&[1]))?;
    bench("sums of columns", &[1024, 64], |x, _| x.sum(&[0]))?;
    bench("sums of long columns", &[16384, 8], |x, _| x.sum(&[0]))?;
    bench("sums of wide columns", &[64, 4096], |x, _| x.sum(&[0]))?;
    bench("max of rows", &[1024, 64], |x, _| x.max(&[1]))?;
    bench("argmax of rows", &[1024, 64], |x, _| x.argmax(-1))?;
    bench("softmax 10", &[4096, 10], |x, _| x.softmax())?;
    bench("softmax 128", &[512, 128], |x, _| x.softmax())?;
    bench("softmax 4000", &[16, 4000], |x, _| x.softmax())?;
    bench("softmax 50000", &[4, 50_000], |x, _| x.softmax())?;
    bench("layer norm", &[512, 256], |x, _| {
        let c = x - x.mean_keep(&[-1]);
        c / (c.square().mean_keep(&[-1]) + 1e-5).sqrt()
    })?;
    Ok(())
}

fn bench(
    name: &str,
    shape: &[usize],
    build: impl for<'g> Fn(Var<'g>, &'g Graph) -> Var<'g>,
) -> Result<(), Box<dyn Error>> {
    let graph = Graph::new();
    let x = graph.input("x", shape.to_vec(), DType::F32);
    let y = build(x, &graph);
    let target = Target::cpu();
    let plan = lower(&Request {
        outputs: vec![("y".into(), y)],
        ..Request::new("bench", &graph, SlabLayout::default(), &target)
    })?;
    let upload = plan
        .buffers
        .iter()
        .find(|b| b.role == Role::Upload)
        .map_or(0, |b| b.bytes / 4);
    let mut rng = Rng::new(1, 1);
    let upload: Vec<u32> = (0..upload)
        .map(|_| (rng.uniform() as f32).to_bits())
        .collect();
    let mut runtime = CpuRuntime::new(ModelMemory::default());
    let kernels = plan.kernels.len();
    let program = runtime.compile(Arc::new(plan))?;
    let row = [0; step_row::WORDS];
    let ticket = runtime.submit(program, &[row], &upload)?;
    runtime.wait(ticket)?;
    let (mut least, begin) = (f64::INFINITY, Instant::now());
    while begin.elapsed() < Duration::from_millis(50) {
        let start = Instant::now();
        let ticket = runtime.submit(program, &[row], &[])?;
        least = least.min(start.elapsed().as_secs_f64());
        runtime.wait(ticket)?;
    }
    let count: usize = shape.iter().product();
    let each = least * 1e9 / count as f64;
    println!(
        "{each:8.3} ns  {name} {shape:?}, {kernels} kernels, {:.1} µs",
        least * 1e6
    );
    Ok(())
}
