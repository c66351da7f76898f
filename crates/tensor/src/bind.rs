//! Which memory a dispatch works on, settled before the first step.

use crate::buffer::Buffer;
use crate::commands::Commands;
use crate::kernels::Access;
use crate::pipeline::{Pipeline, STEP_ROW_BYTES};
use crate::{Device, TensorError};

/// Drivers take sizes as signed 32-bit numbers here and there, so no binding reaches 2 GiB.
pub(crate) const MAX_BINDING: u64 = (1 << 31) - 4;

/// The portable limit of workgroups in one dimension; some drivers report more and hang.
const MAX_GRID: u32 = 65_535;

/// A part of a buffer, made by [`Buffer::range`] and [`Buffer::whole`].
#[derive(Clone, Debug)]
pub struct BufferRange {
    pub(crate) buffer: Buffer,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Buffers bound together. Keeps them alive.
#[derive(Clone, Debug)]
pub struct BindGroup {
    wgpu: wgpu::BindGroup,
    _buffers: Vec<Buffer>,
}

impl BindGroup {
    /// The storage buffers of a pipeline, in the order of its bindings.
    ///
    /// # Errors
    ///
    /// [`TensorError::BindingCount`], [`TensorError::LimitExceeded`] above the largest binding,
    /// [`TensorError::Unaligned`] where an offset does not suit the device.
    pub fn new(
        device: &Device,
        label: &str,
        pipeline: &Pipeline,
        buffers: &[BufferRange],
    ) -> Result<Self, TensorError> {
        let expected = pipeline.bindings().len();
        if buffers.len() != expected {
            let (label, given) = (label.to_owned(), buffers.len());
            return Err(TensorError::BindingCount {
                label,
                expected,
                given,
            });
        }
        let limits = device.limits();
        let alignment = u64::from(limits.min_storage_buffer_offset_alignment);
        let allowed = limits.max_storage_buffer_binding_size.min(MAX_BINDING);
        for range in buffers {
            if !range.offset.is_multiple_of(alignment) {
                return Err(range.buffer.unaligned(range.offset, range.bytes, alignment));
            }
            if range.bytes > allowed {
                let label = format!("{label} ({})", range.buffer.label());
                let (limit, needed) = ("bytes in one binding", range.bytes);
                return Err(TensorError::LimitExceeded {
                    label,
                    limit,
                    needed,
                    allowed,
                });
            }
        }
        check_hazards(label, pipeline, buffers)?;
        Self::bind(device, label, pipeline.storage_layout(), buffers)
    }

    /// Row `row` of a buffer of step rows, 256 bytes each. The buffer needs the usage `UNIFORM`.
    pub fn step_row(device: &Device, rows: &Buffer, row: u64) -> Result<Self, TensorError> {
        let range = rows.range(row.saturating_mul(STEP_ROW_BYTES), STEP_ROW_BYTES)?;
        let layout = device.inner().pipelines.step_row_layout(device)?;
        Self::bind(device, rows.label(), &layout, &[range])
    }

    fn bind(
        device: &Device,
        label: &str,
        layout: &wgpu::BindGroupLayout,
        buffers: &[BufferRange],
    ) -> Result<Self, TensorError> {
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, range)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: range.buffer.wgpu_buffer(),
                    offset: range.offset,
                    size: wgpu::BufferSize::new(range.bytes),
                }),
            })
            .collect();
        let descriptor = wgpu::BindGroupDescriptor {
            label: Some(label),
            layout,
            entries: &entries,
        };
        let wgpu = device.guarded(label, 0, |wgpu, _| wgpu.create_bind_group(&descriptor))?;
        device.inner().counts.bind_groups.add(1);
        Ok(Self {
            wgpu,
            _buffers: buffers.iter().map(|range| range.buffer.clone()).collect(),
        })
    }

    pub(crate) fn wgpu_bind_group(&self) -> &wgpu::BindGroup {
        &self.wgpu
    }
}

/// wgpu tracks hazards by whole buffers, and would complain at the submit, without a name.
fn check_hazards(
    label: &str,
    pipeline: &Pipeline,
    buffers: &[BufferRange],
) -> Result<(), TensorError> {
    let with = |access| {
        let bound = pipeline.bindings().iter().zip(buffers);
        bound.filter_map(move |(a, range)| (*a == access).then_some(&range.buffer))
    };
    for written in with(Access::ReadWrite) {
        if with(Access::Read).any(|read| read.wgpu_buffer() == written.wgpu_buffer()) {
            return Err(TensorError::Validation {
                label: label.to_owned(),
                message: format!("it reads and writes `{}` by two bindings", written.label()),
            });
        }
    }
    Ok(())
}

/// A dispatch with everything settled: pipeline, bindings, grid.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pipeline: Pipeline,
    bindings: BindGroup,
    grid: [u32; 3],
}

impl Dispatch {
    /// Binds `buffers` to `pipeline` for a grid of workgroups.
    ///
    /// # Errors
    ///
    /// Those of [`BindGroup::new`]; [`TensorError::LimitExceeded`] for a grid longer than 65,535
    /// in one dimension (fold it), [`TensorError::Validation`] for an empty one.
    pub fn new(
        device: &Device,
        label: &str,
        pipeline: &Pipeline,
        buffers: &[BufferRange],
        grid: [u32; 3],
    ) -> Result<Self, TensorError> {
        let [x, y, z] = grid;
        let longest = x.max(y).max(z);
        let allowed = device
            .limits()
            .max_compute_workgroups_per_dimension
            .min(MAX_GRID);
        if longest > allowed {
            return Err(TensorError::LimitExceeded {
                label: label.to_owned(),
                limit: "workgroups in one dimension",
                needed: longest.into(),
                allowed: allowed.into(),
            });
        }
        if grid.contains(&0) {
            let message = format!("its grid {x}x{y}x{z} is empty");
            return Err(TensorError::Validation {
                label: label.to_owned(),
                message,
            });
        }
        let bindings = BindGroup::new(device, label, pipeline, buffers)?;
        Ok(Self {
            pipeline: pipeline.clone(),
            bindings,
            grid,
        })
    }

    /// Records the dispatch alone and throws the recording away, so that what wgpu refuses is
    /// known by its label before the first step.
    ///
    /// # Errors
    ///
    /// [`TensorError::Validation`], such as for a buffer too small for its array.
    pub fn validate(
        &self,
        device: &Device,
        label: &str,
        step_row: Option<&BindGroup>,
    ) -> Result<(), TensorError> {
        let mut commands = Commands::new(device, label)?;
        let mut pass = commands.pass(label);
        if let Some(row) = step_row {
            pass.set_step_row(row);
        }
        pass.dispatch(self);
        drop(pass);
        commands.discard()
    }

    /// The pipeline it runs.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Its storage buffers.
    pub fn bindings(&self) -> &BindGroup {
        &self.bindings
    }

    /// Workgroups in each dimension.
    pub fn grid(&self) -> [u32; 3] {
        self.grid
    }
}
