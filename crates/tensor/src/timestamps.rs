//! When kernels run, by the device's own clock.

use std::ops::Range;

use gradus_graph::timeline::Span;

use crate::{Buffer, Commands, Device, Pass, TensorError};

/// Bytes of one reading of the clock.
const TICKS: u64 = 8;

/// Readings of the device's clock before and after each of some kernels.
#[derive(Debug)]
pub(crate) struct Timestamps {
    device: Device,
    queries: wgpu::QuerySet,
    ticks: Buffer,
    /// Whether the clock can be read between the dispatches of a pass.
    inside_passes: bool,
}

impl Timestamps {
    /// Room for the readings; `None` if the device gives none, or not so many.
    pub(crate) fn new(device: &Device, kernels: usize) -> Result<Option<Self>, TensorError> {
        use wgpu::{BufferUsages as Usage, Features};
        let count = u32::try_from(2 * kernels).unwrap_or(u32::MAX);
        let features = device.features();
        if !features.contains(Features::TIMESTAMP_QUERY)
            || !(1..=wgpu::QUERY_SET_MAX_QUERIES).contains(&count)
        {
            return Ok(None);
        }
        let (label, bytes) = ("timestamps", u64::from(count) * TICKS);
        let descriptor = wgpu::QuerySetDescriptor {
            label: Some(label),
            ty: wgpu::QueryType::Timestamp,
            count,
        };
        let create = |wgpu: &wgpu::Device, _: &wgpu::Queue| wgpu.create_query_set(&descriptor);
        Ok(Some(Self {
            queries: device.guarded(label, bytes, create)?,
            ticks: Buffer::new(device, label, bytes, Usage::QUERY_RESOLVE | Usage::COPY_SRC)?,
            inside_passes: features.contains(Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            device: device.clone(),
        }))
    }

    /// What is read, for people.
    pub(crate) const fn clock(&self) -> &'static str {
        match self.inside_passes {
            true => "device timestamps",
            false => "device timestamps, one pass for each kernel",
        }
    }

    /// Records these kernels, and readings around each.
    pub(crate) fn record(
        &self,
        commands: &mut Commands,
        label: &str,
        kernels: Range<usize>,
        record: impl Fn(&mut Pass<'_>, usize),
    ) {
        let query = |kernel: usize| 2 * kernel as u32;
        if self.inside_passes {
            let mut pass = commands.pass(label);
            for kernel in kernels {
                pass.write_timestamp(&self.queries, query(kernel));
                record(&mut pass, kernel);
                pass.write_timestamp(&self.queries, query(kernel) + 1);
            }
            return;
        }
        for kernel in kernels {
            let readings = wgpu::ComputePassTimestampWrites {
                query_set: &self.queries,
                beginning_of_pass_write_index: Some(query(kernel)),
                end_of_pass_write_index: Some(query(kernel) + 1),
            };
            record(&mut commands.pass_with(label, Some(readings)), kernel);
        }
    }

    /// Records the copy of all readings to where [`Timestamps::read`] finds them.
    pub(crate) fn resolve(&self, commands: &mut Commands) {
        let (queries, to) = (&self.queries, self.ticks.wgpu_buffer());
        let encoder = commands.encoder();
        encoder.resolve_query_set(queries, 0..queries.count(), to, 0);
    }

    /// When each kernel ran, in seconds from the first.
    pub(crate) fn read(&self) -> Result<Vec<Span>, TensorError> {
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&self.ticks.read()?);
        let first = ticks.iter().copied().min().unwrap_or(0);
        let tick = f64::from(self.device.queue().get_timestamp_period()) * 1e-9;
        let seconds = |ticks: u64| (ticks - first) as f64 * tick;
        let pairs = ticks.chunks_exact(2);
        let spans = pairs.filter_map(|pair| match *pair {
            [begin, end] => Some(Span {
                begin: seconds(begin),
                end: seconds(end.max(begin)),
            }),
            _ => None,
        });
        Ok(spans.collect())
    }
}
