//! From WGSL to something that can be dispatched.

use std::fmt;
use std::sync::Arc;

use crate::kernels::{Access, Shader};
use crate::reflect::{self, Workgroup};
use crate::{Device, TensorError};

/// The size of a step row in bytes: the alignment of uniform bindings on every device.
pub const STEP_ROW_BYTES: u64 = 256;

/// A shader with one entry point, and what the device must know to run it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// What errors and profilers call it, such as `softmax/forward`.
    pub label: String,
    /// The code, complete.
    pub wgsl: String,
    /// Its storage buffers, `@group(0) @binding(0)` and on.
    pub bindings: Vec<Access>,
    /// Whether it reads the step row, `@group(1) @binding(0) var<uniform>`, 256 bytes.
    pub step_row: bool,
    /// Whether it runs without the run-time checks of indices, loops and integer division. Only
    /// for shaders we generate, whose family passed its property tests with the checks on.
    pub trusted: bool,
}

impl Source {
    /// The source of a generated shader, to run with all checks.
    pub fn checked(label: &str, shader: &Shader) -> Self {
        Self {
            label: label.to_owned(),
            wgsl: shader.wgsl.clone(),
            bindings: shader
                .bindings
                .iter()
                .map(|binding| binding.access)
                .collect(),
            step_row: shader.step_row,
            trusted: false,
        }
    }

    /// The same without the checks, for families that earned it.
    pub fn trusted(label: &str, shader: &Shader) -> Self {
        Self {
            trusted: true,
            ..Self::checked(label, shader)
        }
    }
}

/// A compiled shader: cheap to clone. Shaders with equal code share one.
#[derive(Clone)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

struct Inner {
    label: String,
    wgpu: wgpu::ComputePipeline,
    storage_layout: wgpu::BindGroupLayout,
    bindings: Vec<Access>,
    step_row: bool,
    workgroup: Workgroup,
}

impl Pipeline {
    /// The label of the first shader that was compiled to it.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    /// Its storage buffers.
    pub fn bindings(&self) -> &[Access] {
        &self.inner.bindings
    }

    /// Whether it reads the step row.
    pub fn step_row(&self) -> bool {
        self.inner.step_row
    }

    /// Invocations of a workgroup in each dimension.
    pub fn workgroup_size(&self) -> [u32; 3] {
        self.inner.workgroup.size
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> u32 {
        self.inner.workgroup.bytes
    }

    /// Equal for two pipelines exactly if they are one.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    pub(crate) fn wgpu_pipeline(&self) -> &wgpu::ComputePipeline {
        &self.inner.wgpu
    }

    pub(crate) fn storage_layout(&self) -> &wgpu::BindGroupLayout {
        &self.inner.storage_layout
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("label", &self.label())
            .finish_non_exhaustive()
    }
}

/// Checks a shader against the device and has the driver compile it.
pub(crate) fn create(device: &Device, source: &Source) -> Result<Pipeline, TensorError> {
    let workgroup = reflect::workgroup(device.limits(), source)?;
    check_binding_count(device, source)?;
    let module = module(device, source)?;
    let label = source.label.as_str();
    let entries: Vec<_> = (0..)
        .zip(&source.bindings)
        .map(|(at, binding)| {
            let read_only = *binding == Access::Read;
            layout_entry(at, wgpu::BufferBindingType::Storage { read_only }, 0)
        })
        .collect();
    let storage_layout = bind_group_layout(device, label, &entries)?;
    let step_row_layout = match source.step_row {
        true => Some(device.inner().pipelines.step_row_layout(device)?),
        false => None,
    };
    let groups: Vec<_> = [Some(&storage_layout), step_row_layout.as_ref()]
        .into_iter()
        .filter(Option::is_some)
        .collect();
    let wgpu = device.guarded(label, 0, |wgpu, _| {
        let layout = wgpu.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &groups,
            immediate_size: 0,
        });
        wgpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(&workgroup.entry_point),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    })?;
    let inner = Inner {
        label: label.to_owned(),
        wgpu,
        storage_layout,
        bindings: source.bindings.clone(),
        step_row: source.step_row,
        workgroup,
    };
    Ok(Pipeline {
        inner: Arc::new(inner),
    })
}

#[allow(
    unsafe_code,
    reason = "trusted shader modules run without run-time checks"
)]
fn module(device: &Device, source: &Source) -> Result<wgpu::ShaderModule, TensorError> {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(&source.label),
        source: wgpu::ShaderSource::Wgsl(source.wgsl.as_str().into()),
    };
    let made = device.guarded(&source.label, 0, |wgpu, _| match source.trusted {
        // SAFETY: trusted shaders come from our own generator. Their indices are bounded by the
        // shapes they were generated for, or tested, as those that come from data are; their loops
        // have constant bounds; and divisors that may be 0 are tested. The property tests run the
        // same generator with the checks on.
        true => unsafe {
            let checks = wgpu::ShaderRuntimeChecks::unchecked();
            wgpu.create_shader_module_trusted(descriptor, checks)
        },
        false => wgpu.create_shader_module(descriptor),
    });
    made.map_err(|error| match error {
        // What naga's parser accepts and its validator does not.
        TensorError::Validation { label, message } => {
            let line = reflect::line_in(&message);
            TensorError::Shader {
                label,
                line,
                message,
            }
        }
        other => other,
    })
}

fn check_binding_count(device: &Device, source: &Source) -> Result<(), TensorError> {
    let needed = source.bindings.len() as u64;
    let allowed = u64::from(device.limits().max_storage_buffers_per_shader_stage);
    if needed > allowed {
        let (label, limit) = (source.label.clone(), "storage buffers in one shader");
        return Err(TensorError::LimitExceeded {
            label,
            limit,
            needed,
            allowed,
        });
    }
    Ok(())
}

/// The layout of the step row, the same for all pipelines.
pub(crate) fn step_row_layout(device: &Device) -> Result<wgpu::BindGroupLayout, TensorError> {
    let entry = layout_entry(0, wgpu::BufferBindingType::Uniform, STEP_ROW_BYTES);
    bind_group_layout(device, "step row", &[entry])
}

fn bind_group_layout(
    device: &Device,
    label: &str,
    entries: &[wgpu::BindGroupLayoutEntry],
) -> Result<wgpu::BindGroupLayout, TensorError> {
    let descriptor = wgpu::BindGroupLayoutDescriptor {
        label: Some(label),
        entries,
    };
    device.guarded(label, 0, |wgpu, _| {
        wgpu.create_bind_group_layout(&descriptor)
    })
}

/// `min_bytes` of 0 leaves the size to be compared when a buffer is bound.
fn layout_entry(
    binding: u32,
    ty: wgpu::BufferBindingType,
    min_bytes: u64,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: wgpu::BufferSize::new(min_bytes),
        },
        count: None,
    }
}
