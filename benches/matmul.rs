//! Square products: the plan of one matmul on every device, and the bare call that the executor
//! is built on.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use gradus::graph::backend::{ModelMemory, ProgramId, Runtime};
use gradus::graph::philox::Rng;
use gradus::graph::plan::{Request, Role, SlabLayout, lower};
use gradus::graph::{Graph, Plan, Scope, Target, step_row};
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;

const SIZES: [usize; 3] = [256, 512, 1024];

/// Products in one submit, and submits under way.
const IN_SUBMIT: usize = 8;
const IN_FLIGHT: usize = 3;

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for n in SIZES {
        let name = format!("matmul {n}");
        if wanted(&name) {
            let mut contestants = vec![bare(n)?];
            for device in devices {
                let name = machine::short_name(device);
                let product =
                    Product::on(device, n).with_context(|| format!("matmul {n} on {name}"))?;
                contestants.push(product.contestant(name));
            }
            let amount = 2.0 * (n * n * n) as f64 / 1e9;
            cases.push(Case {
                name,
                unit: "GFLOP/s",
                amount,
                contestants,
            });
        }
    }
    Ok(cases)
}

/// Two matrices with elements in [−1, 1).
fn factors(n: usize) -> [Vec<f32>; 2] {
    [1, 2].map(|stream| {
        let mut rng = Rng::new(0, stream);
        (0..n * n)
            .map(|_| (2.0 * rng.uniform() - 1.0) as f32)
            .collect()
    })
}

/// Compares some elements with sums in f64.
fn check(n: usize, [a, b]: &[Vec<f32>; 2], c: &[f32]) -> Result<()> {
    ensure!(c.len() == n * n, "{} elements, expected {}", c.len(), n * n);
    let mut rng = Rng::new(0, 3);
    let mut below = |n: usize| rng.below(u32::try_from(n).unwrap_or(u32::MAX)) as usize;
    for _ in 0..1000 {
        let (i, j) = (below(n), below(n));
        let terms = (0..n).map(|k| f64::from(a[i * n + k]) * f64::from(b[k * n + j]));
        let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), t: f64| (sum + t, size + t.abs()));
        let found = f64::from(c[i * n + j]);
        let allowed = 4.0 * f64::from(f32::EPSILON) * size;
        ensure!(
            (found - sum).abs() <= allowed,
            "[{i}, {j}] is {found}, expected {sum}"
        );
    }
    Ok(())
}

/// The product that the executor is built on, without plan, runtime or memory of a model.
fn bare(n: usize) -> Result<Contestant<'static>> {
    let factors = factors(n);
    let mut c = vec![0.0; n * n];
    let [a, b] = &factors;
    gradus::cpu::gemm_rows([n; 3], &mut c, a, b, true);
    check(n, &factors, &c).context("bare gemm")?;
    let run = move |times: usize| {
        let [a, b] = &factors;
        for _ in 0..times {
            gradus::cpu::gemm_rows([n; 3], black_box(&mut c), black_box(a), b, true);
        }
        Ok(())
    };
    Ok(Contestant {
        name: "bare gemm".into(),
        run: Box::new(run),
    })
}

/// A plan of one product, on a device.
struct Product {
    runtime: Box<dyn Runtime>,
    program: ProgramId,
}

impl Product {
    /// Prepares the product, runs it once and checks the result.
    fn on(device: &Device, n: usize) -> Result<Self> {
        let (plan, slabs) = plan(n, &device.target())?;
        let plan = Arc::new(plan);
        let memory = ModelMemory {
            slabs: slabs.clone(),
            ..ModelMemory::default()
        };
        let mut runtime = machine::runtime(device, memory)?;
        let program = runtime.compile(Arc::clone(&plan))?;
        let factors = factors(n);
        for (segment, values) in slabs.segments.iter().zip(&factors) {
            let words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
            runtime.write(&Role::Params(segment.shard), segment.offset, &words)?;
        }
        let mut product = Self { runtime, program };
        product.run(1)?;
        let (_, value) = plan.outputs.first().context("the plan has no output")?;
        let first = plan.values.get(value.index()).map_or(0, |v| v.offset / 4);
        let words = product
            .runtime
            .read(program, &Role::Outputs, first, (n * n) as u64)?;
        let c: Vec<f32> = words.into_iter().map(f32::from_bits).collect();
        check(n, &factors, &c)?;
        Ok(product)
    }

    fn run(&mut self, times: usize) -> Result<()> {
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
        tickets
            .into_iter()
            .try_for_each(|ticket| self.runtime.wait(ticket).map(drop))?;
        Ok(())
    }

    fn contestant(mut self, name: String) -> Contestant<'static> {
        Contestant {
            name,
            run: Box::new(move |times| self.run(times)),
        }
    }
}

/// `c = a · b` with both factors where parameters lie, so that nothing is uploaded.
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
