//! What a device reaches when a kernel is as simple as kernels are.

use std::fmt;
use std::sync::Arc;

use gradus_graph::backend::ModelMemory;
use gradus_graph::plan::{Request, Role, SlabLayout, lower};
use gradus_graph::{DeviceClass, Graph, Scope, Var, step_row};
use gradus_nn::init::Zeros;

use super::KernelProfile;
use crate::{Device, Error};

/// Elements copied: 64 MiB, more than caches hold.
const ELEMENTS: usize = 16 << 20;

/// Runs of which the fastest counts, after one to warm up.
const RUNS: usize = 3;

/// What a device reached at that moment, with kernels of ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Bytes a second, read and written, by one operation for each of very many elements.
    pub bandwidth: f64,
    /// Floating-point operations a second in a product of large square matrices.
    pub rate: f64,
}

/// What a kernel is nearer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roof {
    /// The peak of memory.
    Memory,
    /// The peak of arithmetic.
    Compute,
}

impl fmt::Display for Roof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Compute => "compute",
        })
    }
}

impl Peak {
    /// The roof that the kernel is nearer to, and what share of it the kernel reached: above 1 if
    /// its operands were in a cache.
    ///
    /// Source: Williams, Waterman & Patterson, *Roofline* (2009).
    pub fn share(&self, kernel: &KernelProfile) -> (f64, Roof) {
        let memory = kernel.bandwidth() / self.bandwidth;
        let compute = kernel.rate() / self.rate;
        if compute > memory {
            (compute, Roof::Compute)
        } else {
            (memory, Roof::Memory)
        }
    }

    pub(super) fn measure(device: &Device) -> Result<Self, Error> {
        let n = match device.target().class {
            DeviceClass::Gpu => 2048,
            DeviceClass::Software | DeviceClass::Cpu => 1024,
        };
        let (bytes, _, copy) = fastest(device, |scope| -scope.param("x", [ELEMENTS], Zeros))?;
        let (_, flops, product) = fastest(device, |scope| {
            let factor = |name| scope.param(name, [n, n], Zeros);
            factor("a").matmul(factor("b"))
        })?;
        Ok(Self {
            bandwidth: bytes as f64 / copy,
            rate: flops as f64 / product,
        })
    }
}

/// Bytes and operations of a graph, and the fewest seconds that its kernels took.
fn fastest(
    device: &Device,
    build: impl for<'g> FnOnce(&Scope<'g>) -> Var<'g>,
) -> Result<(u64, u64, f64), Error> {
    let (target, graph) = (device.target(), Graph::new());
    let result = build(&Scope::root(&graph, false));
    graph.check()?;
    let slabs = SlabLayout::new(&graph.params(), &target)?;
    let plan = Arc::new(lower(&Request {
        outputs: vec![("result".into(), result)],
        ..Request::new("peak", &graph, slabs.clone(), &target)
    })?);
    let mut runtime = device.runtime(ModelMemory {
        slabs: slabs.clone(),
        ..ModelMemory::default()
    })?;
    let program = runtime.compile(Arc::clone(&plan))?;
    for segment in &slabs.segments {
        // Not zeros: a chip that flips few bits may run faster.
        let words = (0..segment.len).map(|i| ((i % 251) as f32 / 251.0).to_bits());
        let (shard, words) = (Role::Params(segment.shard), words.collect::<Vec<u32>>());
        runtime.write(&shard, segment.offset, &words)?;
    }
    let mut best = f64::INFINITY;
    for run in 0..=RUNS {
        let (_, step) = runtime.profile(program, &[0; step_row::WORDS], &[])?;
        let seconds: f64 = step.kernels.iter().map(|k| k.span.seconds()).sum();
        if run > 0 {
            best = best.min(seconds);
        }
    }
    Ok((plan.bill.bytes, plan.bill.flops, best))
}
