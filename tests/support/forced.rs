//! Evaluation on a GPU by every variant of its kernels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradus::train::Device;
use gradus_graph::backend::Runtime;
use gradus_graph::plan::Plan;
use gradus_tensor::{GpuRuntime, kernels::variants};

use super::planned::{Planned, on};

/// Of the variants that no device chooses, those that one row of the table forces: one in so many.
/// Software devices need a second to compile a kernel with barriers.
const SHARE: usize = 3;

/// Calls `check` with an evaluator for each variant that a device chooses, which come first, and
/// for a part of the others, so that the rows of a table together force every one.
pub(crate) fn variants_of_row(
    row: usize,
    device: &Device,
    check: impl Fn(&Planned) -> Result<(), String>,
) -> Result<(), String> {
    let gpu = device.as_gpu().ok_or("not a GPU")?;
    let most = Arc::new(AtomicUsize::new(0));
    for variant in 0.. {
        // Known since the first plan was made.
        if variant > 0 && variant >= most.load(Ordering::Relaxed) {
            break;
        }
        if variant >= 2 && variant % SHARE != row % SHARE {
            continue;
        }
        let (gpu, counted) = (gpu.clone(), Arc::clone(&most));
        let make = move |memory, plan: &Plan| {
            let counts = plan
                .kernels
                .iter()
                .map(|kernel| variants(plan, kernel).len());
            counted.fetch_max(counts.max().unwrap_or(0), Ordering::Relaxed);
            let runtime = GpuRuntime::new(gpu.clone(), memory);
            let mut runtime = runtime.map_err(|e| e.to_string())?;
            runtime.force_variant(variant);
            Ok(Box::new(runtime) as Box<dyn Runtime>)
        };
        let mut target = device.target();
        // Every op that has kernels is computed by them.
        target.max_attention_bytes = 0;
        check(&Planned {
            name: format!("{device}, variant {variant}"),
            target,
            make: Box::new(make),
            ..on(device)
        })?;
    }
    Ok(())
}
