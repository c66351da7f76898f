//! Pipelines, each made once.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use crate::health::lock;
use crate::pipeline::{self, Pipeline, Source};
use crate::{Device, TensorError};

/// All pipelines of a device.
#[derive(Default)]
pub(crate) struct Pipelines {
    // Only looked up, never walked, so that no order comes from the hash.
    made: Mutex<HashMap<Source, Pipeline>>,
    step_row_layout: OnceLock<wgpu::BindGroupLayout>,
}

impl Pipelines {
    pub(crate) fn step_row_layout(
        &self,
        device: &Device,
    ) -> Result<wgpu::BindGroupLayout, TensorError> {
        if let Some(layout) = self.step_row_layout.get() {
            return Ok(layout.clone());
        }
        let layout = pipeline::step_row_layout(device)?;
        // Two threads may both come here; either layout serves, wgpu takes them for equal.
        Ok(self.step_row_layout.get_or_init(|| layout).clone())
    }
}

/// What makes a pipeline differ from another: everything but its name.
fn key(source: &Source) -> Source {
    Source {
        label: String::new(),
        ..source.clone()
    }
}

/// Compiles a shader, or finds the pipeline of an equal one.
///
/// # Errors
///
/// [`TensorError::Shader`] with naga's message and line; [`TensorError::LimitExceeded`] for more
/// invocations, workgroup memory or bindings than the device allows; [`TensorError::Validation`]
/// where `bindings` or `step_row` contradict the code.
pub fn compile(device: &Device, source: &Source) -> Result<Pipeline, TensorError> {
    device.check()?;
    let (key, made) = (key(source), &device.inner().pipelines.made);
    if let Some(pipeline) = lock(made).get(&key) {
        return Ok(pipeline.clone());
    }
    // Not under the lock: threads compile at the same time.
    let pipeline = pipeline::create(device, source)?;
    device.inner().counts.pipelines.add(1);
    Ok(lock(made).entry(key).or_insert(pipeline).clone())
}

/// Compiles many shaders on all cores, equal ones once. Calls `progress(done, total)` after each,
/// from any thread.
///
/// # Errors
///
/// The error of the first shader in the list that has one.
pub fn compile_all(
    device: &Device,
    sources: &[Source],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Pipeline>, TensorError> {
    let mut seen = HashSet::new();
    let unique: Vec<&Source> = sources.iter().filter(|s| seen.insert(key(s))).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = AtomicBool::new(false);
    let work = || {
        while let Some(source) = unique.get(next.fetch_add(1, Ordering::Relaxed)) {
            // After an error the rest is not worth compiling; which error is told is settled below.
            if failed.load(Ordering::Relaxed) {
                break;
            }
            match compile(device, source) {
                Ok(_) => progress(done.fetch_add(1, Ordering::Relaxed) + 1, unique.len()),
                Err(_) => failed.store(true, Ordering::Relaxed),
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        for _ in 1..cores.min(unique.len()) {
            // Where no thread can be had, this one does the work alone.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    // By now each is in the cache, or fails again in the order of the list.
    sources
        .iter()
        .map(|source| compile(device, source))
        .collect()
}
